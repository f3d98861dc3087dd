/* SPDX-License-Identifier: MIT */
/* stat_screen.c: what is drawn anew on a terminal: no line is longer than it is wide, and no more lines are drawn than
 * it has, so that nothing scrolls. What does not fit is left out. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "stat.h"

bool screen_open(screen_t* screen, int fd) {
  struct winsize size = {.ws_row = 0};

  *screen = (screen_t){.columns = SIZE_MAX, .lines = SIZE_MAX};
  if (ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 && size.ws_col > 0) {
    screen->columns = size.ws_col;
    screen->lines = size.ws_row;
  }
  screen->to = open_memstream(&screen->text, &screen->bytes);
  return screen->to != NULL;
}

size_t screen_room(screen_t* screen) {
  size_t used = 1; /* the cursor stands below the text */

  fflush(screen->to);
  for (size_t i = 0; i < screen->bytes; i++) used += screen->text[i] == '\n';
  return screen->lines > used ? screen->lines - used : 0;
}

void screen_draw(screen_t* screen, FILE* terminal) {
  const char* line;

  fclose(screen->to);
  fputs("\033[H\033[2J", terminal);
  line = screen->text;
  for (size_t i = 1; i < screen->lines && *line != '\0'; i++) {
    size_t length = strcspn(line, "\n");

    fwrite(line, 1, length < screen->columns ? length : screen->columns, terminal);
    fputc('\n', terminal);
    line += length + (line[length] == '\n');
  }
  free(screen->text);
}
