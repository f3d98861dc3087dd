# SPDX-License-Identifier: MIT
# Completion of uvface-dump for bash: options, files, and the faces that uvface-stat lists.

# As in that of uvface-stat.
_uvface_faces() {
  local typed=${COMP_LINE:0:COMP_POINT} kept='' name
  typed=${typed##*[[:space:]]}
  [[ $typed == *:* && $COMP_WORDBREAKS == *:* ]] && kept=${typed%:*}:
  while read -r name _; do
    name=${name#'('} name=${name%')'}
    [[ $name == "$typed"* && $name =~ ^[A-Za-z0-9._:-]+$ ]] && COMPREPLY+=("${name#"$kept"}")
  done < <("$1" 2>/dev/null | tail -n +2)
}

_uvface_dump() {
  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} stat=uvface-stat
  COMPREPLY=()
  [[ $before == = ]] && before=${COMP_WORDS[COMP_CWORD - 2]} # it is a word of its own
  case $before in
    -w | --write)
      compopt -o default # files, as readline completes them
      return
      ;;
    -c | --count | -p | --prefix) return ;;
  esac
  if [[ $word == -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W '--count= --prefix= --write= --eager --help --version' -- "$word")
    [[ ${COMPREPLY[*]} == *= ]] && compopt -o nospace
    return
  fi
  [[ $1 == */uvface-dump ]] && stat=${1%dump}stat # its neighbour
  _uvface_faces "$stat"
}
complete -F _uvface_dump uvface-dump
