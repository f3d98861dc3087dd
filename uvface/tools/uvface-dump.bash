# SPDX-License-Identifier: MIT
# Completion of uvface-dump for bash: options, files, and the names of faces.
_uvface_dump() {
  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} name
  COMPREPLY=()
  case $before in
    -w | --write)
      mapfile -t COMPREPLY < <(compgen -f -- "$word")
      return
      ;;
    -c | --count | -p | --prefix) return ;;
  esac
  if [[ $word == -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W '--count --prefix --write --eager --help --version' -- "$word")
    return
  fi
  for name in /dev/shm/ndn-shm-"$word"*; do
    name=${name#/dev/shm/ndn-shm-}
    [[ $name =~ ^[A-Za-z0-9._-]+$ ]] && COMPREPLY+=("$name")
  done
}
complete -F _uvface_dump uvface-dump
