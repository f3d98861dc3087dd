# SPDX-License-Identifier: MIT
# Completion of uvface-stat for bash: options, and the faces that it lists.

# Adds the faces that the program $1 lists and whose names begin as what was typed. A name that had to be escaped is
# called otherwise, and is left out. If readline ends a word at a colon, it keeps what stands before that.
_uvface_faces() {
  local typed=${COMP_LINE:0:COMP_POINT} kept='' name
  typed=${typed##*[[:space:]]}
  [[ $typed == *:* && $COMP_WORDBREAKS == *:* ]] && kept=${typed%:*}:
  while read -r name _; do
    name=${name#'('} name=${name%')'}
    [[ $name == "$typed"* && $name =~ ^[A-Za-z0-9._:-]+$ ]] && COMPREPLY+=("${name#"$kept"}")
  done < <("$1" 2>/dev/null | tail -n +2)
}

_uvface_stat() {
  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
  COMPREPLY=()
  [[ $word == = || $before == = ]] && return # seconds
  if [[ $word == -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W '--json --watch --watch= --stale --remove --help --version' -- "$word")
    [[ ${COMPREPLY[*]} == *= ]] && compopt -o nospace
    return
  fi
  _uvface_faces "$1"
}
complete -F _uvface_stat uvface-stat
