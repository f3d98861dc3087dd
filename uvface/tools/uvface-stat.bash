# SPDX-License-Identifier: MIT
# Completion of uvface-stat for bash: options, and the names of faces.
_uvface_stat() {
  local word=${COMP_WORDS[COMP_CWORD]} name
  if [[ $word == -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W '--json --watch --watch= --stale --remove --help --version' -- "$word")
    return
  fi
  COMPREPLY=()
  for name in /dev/shm/ndn-shm-"$word"*; do
    name=${name#/dev/shm/ndn-shm-}
    [[ $name =~ ^[A-Za-z0-9._-]+$ ]] && COMPREPLY+=("$name")
  done
}
complete -F _uvface_stat uvface-stat
