/* SPDX-License-Identifier: MIT */
/* attack.c: uvface-attack: an engine, two honest apps, and an attacker that has one face of that engine and no
 * other right: as root it is nobody, let in by a group. Phases in which it rests and in which it attacks
 * alternate. The verdict: the engine lives, no packet of the apps is lost or wrong, what must be refused is
 * refused, a file that squatted names point to is unchanged, nothing stays behind, nothing holds the engine. Rates are
 * reported, not judged: two busy processes on two CPUs have less when there is a third. What the attacker does is in
 * attack_kinds.c. */
#include "attack.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include "stage.h"

enum { PHASES = 9, NOBODY = 65534, LONG_WINDOW = 96, ONE_BY_ONE = 1 };

#define WARM_UP_S 0.5

static const char canary_text[] = "not to be touched\n";

typedef struct trial_s {
  double secs;
  bool json, progress, stranger;
  stage_t stage;
  actor_t attacker;
  char canary[160];
  unsigned int n[2]; /* phases at rest and under attack */
  double rate[2][PHASES], p99[2][PHASES], cpu[2][PHASES];
  uint64_t tried[ATTACK_KINDS], refused[ATTACK_KINDS], breaches;
  unsigned int left;
  double stay_ms; /* the engine's longest away from its wait for events */
} trial_t;

/* As long nothing lasts on a busy machine that is not waited for: a lease, for example. */
#define HELD_MS 500.0

/* --- The canary -------------------------------------------------------------------------------- */

static bool make_canary(trial_t* t) {
  attack_canary_path(t->canary, sizeof(t->canary), t->stage.prefix);
  int fd = open(t->canary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  bool good = fd >= 0 && write(fd, canary_text, sizeof(canary_text)) == sizeof(canary_text);
  if (!good) stage_fail(&t->stage, "%s: %s", t->canary, strerror(errno));
  if (fd >= 0) close(fd);
  return good;
}

static void check_canary(trial_t* t) {
  char text[sizeof(canary_text) + 1] = "";
  struct stat st;
  int fd = open(t->canary, O_RDONLY | O_CLOEXEC);
  if (fd < 0 || read(fd, text, sizeof(text)) != sizeof(canary_text) || strcmp(text, canary_text) != 0 ||
      fstat(fd, &st) != 0 || (st.st_mode & 0777) != 0644 || st.st_uid != geteuid() || st.st_nlink != 1)
    stage_fail(&t->stage, "%s is not what it was: a squatted name was followed", t->canary);
  if (fd >= 0) close(fd);
  unlink(t->canary);
}

/* --- The run ----------------------------------------------------------------------------------- */

static bool start_attacker(trial_t* t) {
  const stage_t* s = &t->stage;
  int fd;
  stress_board_t* b = t->attacker.board = stage_board_new(&fd);
  if (b != NULL) {
    memcpy(b->prefix, s->prefix, sizeof(b->prefix));
    b->seed = (uint32_t) getpid();
    b->may_truncate = atomic_load(&s->engine.board->guard);
    b->is_stranger = t->stranger;
    b->engine_pid = s->engine.pid;
    atomic_store(&b->pause, 1);
    t->attacker.pid = stage_start(s->program, "attacker", "", fd, NULL, 0, t->stranger ? NOBODY : (uid_t) -1,
                                  t->stranger ? NOBODY : (gid_t) -1);
    close(fd);
  }
  if (t->attacker.pid > 0) return true;
  stage_fail(&t->stage, "cannot start the attacker: %s", strerror(errno));
  return false;
}

static void look_after_attacker(stage_t* s, void* arg) {
  trial_t* t = arg;
  siginfo_t info = {.si_pid = 0};
  if (waitid(P_PID, (id_t) t->attacker.pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid != 0)
    stage_fail(s, "the attacker ended (%s %d): %s", info.si_code == CLD_EXITED ? "status" : "signal", info.si_status,
               t->attacker.board->message);
}

static bool is_possible(const trial_t* t, int kind) {
  if (kind == ATTACK_TRUNCATE) return atomic_load(&t->stage.engine.board->guard) != 0;
  return kind != ATTACK_OTHERS || t->stranger;
}

/* A short run on a busy machine is made longer until it has seen everything once. */
static void wait_for_every_kind(trial_t* t) {
  uint64_t start_ns = uv_hrtime();
  for (int kind = 0; kind < ATTACK_KINDS && !t->stage.failed;) {
    if (stress_get(&t->attacker.board->tried[kind]) > 0 || !is_possible(t, kind)) {
      kind++;
      continue;
    }
    stage_tend(&t->stage);
    look_after_attacker(&t->stage, t);
    if (uv_hrtime() - start_ns > STAGE_WAIT_MS * UINT64_C(1000000))
      stage_fail(&t->stage, "attacks of the kind '%s' were never tried", attack_names[kind]);
    stress_nap(1000);
  }
}

static void end_attacker(trial_t* t) {
  stress_board_t* b = t->attacker.board;
  if (t->attacker.pid <= 0) return;
  atomic_store(&b->stop, 1);
  int status = stage_wait(t->attacker.pid, STAGE_WAIT_MS);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
    stage_fail(&t->stage, "the attacker ended badly (wait status %#x): %s", (unsigned int) status, b->message);
  for (int kind = 0; kind < ATTACK_KINDS; kind++) {
    t->tried[kind] = stress_get(&b->tried[kind]);
    t->refused[kind] = stress_get(&b->refused[kind]);
    t->breaches += stress_get(&b->breaches[kind]);
  }
  if (t->breaches > 0) stage_fail(&t->stage, "%s", b->message);
}

static void show_progress(const trial_t* t, uint64_t start_ns, bool attack) {
  uint64_t all = 0;
  for (int kind = 0; kind < ATTACK_KINDS; kind++) all += stress_get(&t->attacker.board->tried[kind]);
  if (t->progress)
    fprintf(stderr, "uvface-attack: %.0f of %.0f s, %s, %" PRIu64 " attacks, %" PRIu64 " faults\033[K\r",
            (double) (uv_hrtime() - start_ns) / 1e9, t->secs, attack ? "attack" : "rest  ", all,
            stage_faults(&t->stage));
}

static void note_stay(trial_t* t, uint64_t ns) {
  if ((double) ns / 1e6 > t->stay_ms) t->stay_ms = (double) ns / 1e6;
  if (t->stay_ms > HELD_MS) stage_fail(&t->stage, "the engine was held for %.0f ms", t->stay_ms);
}

static void run(trial_t* t) {
  stage_t* s = &t->stage;
  stage_phase_t phase;
  uint64_t start_ns = uv_hrtime();
  if (!stage_open(s, "uvface-attack", ATTACK_VICTIMS, ATTACK_PLACE + 1, ATTACK_PLACE,
                  t->stranger ? NOBODY : (gid_t) -1))
    return;
  s->places[0].window = LONG_WINDOW;
  s->places[1].window = ONE_BY_ONE;
  for (uint32_t i = 0; i < ATTACK_VICTIMS; i++) stage_cast(s, i, "app");
  if (!make_canary(t) || !stage_settle(s) || !start_attacker(t) ||
      !stage_phase(s, WARM_UP_S, look_after_attacker, t, &phase))
    return;
  for (int i = 0; i < PHASES; i++) {
    int attack = i % 2;
    atomic_store(&t->attacker.board->pause, !attack);
    show_progress(t, start_ns, attack != 0);
    if (!stage_phase(s, t->secs / PHASES, look_after_attacker, t, &phase)) return;
    note_stay(t, phase.stay_ns);
    t->rate[attack][t->n[attack]] = phase.rate;
    t->p99[attack][t->n[attack]] = (double) phase.p99_ns;
    t->cpu[attack][t->n[attack]++] = phase.engine_cpu;
  }
  atomic_store(&t->attacker.board->pause, 0);
  wait_for_every_kind(t);
  note_stay(t, stage_take_stay_ns(s));
}

/* --- The report -------------------------------------------------------------------------------- */

static json_t* pair(double (*a)[PHASES], const unsigned int n[2]) {
  return json_pack("{s:f, s:f}", "rest", stage_median(a[0], n[0]), "attack", stage_median(a[1], n[1]));
}

static json_t* kinds_json(const trial_t* t) {
  json_t* kinds = json_object();
  for (int kind = 0; kind < ATTACK_KINDS; kind++)
    json_object_set_new(
        kinds, attack_names[kind],
        json_pack("{s:I, s:I}", "tried", (json_int_t) t->tried[kind], "refused", (json_int_t) t->refused[kind]));
  return kinds;
}

static json_t* faces_json(const stress_place_t* p) {
  return json_pack("{s:I, s:I, s:I, s:I, s:I}", "opened", (json_int_t) stress_get(&p->opened), "name_taken",
                   (json_int_t) stress_get(&p->refused), "eof", (json_int_t) stress_get(&p->eof), "eproto",
                   (json_int_t) stress_get(&p->eproto), "eio", (json_int_t) stress_get(&p->eio));
}

static void print_json(trial_t* t) {
  const stage_t* s = &t->stage;
  json_t* report =
      json_pack("{s:s, s:s, s:f, s:b, s:b, s:o, s:o, s:I, s:I, s:i, s:f, s:o, s:o, s:o}", "program", "uvface-attack",
                "version", STRESS_VERSION, "secs", t->secs, "stranger", (int) t->stranger, "guard",
                (int) atomic_load(&s->engine.board->guard), "attacks", kinds_json(t), "faces",
                faces_json(&s->engine.board->places[ATTACK_PLACE]), "breaches", (json_int_t) t->breaches, "faults",
                (json_int_t) stage_faults(s), "left_behind", (int) t->left, "longest_stay_ms", t->stay_ms, "rate",
                pair(t->rate, t->n), "p99_ns", pair(t->p99, t->n), "engine_cpu", pair(t->cpu, t->n));
  json_object_set_new(report, "failure", s->failed ? json_string(s->why) : json_null());
  json_dumpf(report, stdout, JSON_COMPACT);
  putchar('\n');
  json_decref(report);
}

static void print_row(const char* label, const char* unit, double scale, double (*a)[PHASES], const unsigned int n[2]) {
  printf("  %-12s %10.3f %10.3f  %s\n", label, stage_median(a[0], n[0]) / scale, stage_median(a[1], n[1]) / scale,
         unit);
}

static void print_text(trial_t* t) {
  const stage_t* s = &t->stage;
  const stress_place_t* p = &s->engine.board->places[ATTACK_PLACE];
  printf("uvface-attack: the attacker is %s; the engine %s SIGBUS\n",
         t->stranger ? "nobody" : "the same user as the engine",
         atomic_load(&s->engine.board->guard) != 0 ? "guards against" : "does not guard against");
  for (int kind = 0; kind < ATTACK_KINDS; kind++)
    printf("  %-12s %10" PRIu64 " tried, %10" PRIu64 " refused%s\n", attack_names[kind], t->tried[kind],
           t->refused[kind], is_possible(t, kind) ? "" : " (skipped)");
  printf("  its faces    %" PRIu64 " opened, %" PRIu64 " names taken; ended: %" PRIu64 " EOF, %" PRIu64
         " EPROTO, %" PRIu64 " EIO\n",
         stress_get(&p->opened), stress_get(&p->refused), stress_get(&p->eof), stress_get(&p->eproto),
         stress_get(&p->eio));
  printf("                     rest     attack\n");
  print_row("round trips", "k/s, both victims", 1e3, t->rate, t->n);
  print_row("p99", "us", 1e3, t->p99, t->n);
  print_row("engine CPU", "of one", 1, t->cpu, t->n);
  printf("  longest stay %10.3f ms: of the engine, away from its wait for events\n", t->stay_ms);
  printf("  breaches %" PRIu64 ", packets lost or wrong %" PRIu64 ", files left %u\n", t->breaches, stage_faults(s),
         t->left);
  printf("  %s%s\n", s->failed ? "FAILED: " : "good", s->failed ? s->why : "");
}

/* --- The command line -------------------------------------------------------------------------- */

static void usage(FILE* to) {
  fputs(
      "Usage: uvface-attack [options]\n"
      "\n"
      "Attacks an engine from one of its faces while two apps use others, and checks that engine and\n"
      "apps do not notice. As root the attacker is nobody; else it is the same user as the engine, and\n"
      "what only another user is refused is not tried.\n"
      "\n"
      "  --secs S   run about this long (60)\n"
      "  --json     print one JSON object\n"
      "  --version, --help\n"
      "\n"
      "Exit: 0 well; 1 failed, or a check did; 2 usage.\n",
      to);
}

static int parse(trial_t* t, int argc, char** argv) {
  static const struct option options[] = {{"secs", required_argument, NULL, 's'},
                                          {"json", no_argument, NULL, 'j'},
                                          {"version", no_argument, NULL, 'V'},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
  int option;
  char* end = NULL;
  t->secs = 60;
  while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
    if (option == 's') t->secs = strtod(optarg, &end);
    if (option == 'j') t->json = true;
    if (option == 'h') usage(stdout);
    if (option == 'V') puts("uvface-attack " STRESS_VERSION);
    if (option == 'h' || option == 'V') exit(STRESS_OK);
    if (option == '?' || (option == 's' && (*end != '\0' || !(t->secs > 0) || t->secs > 1e6))) break;
  }
  if (option == -1 && optind == argc) return STRESS_OK;
  fputs("uvface-attack: see uvface-attack --help\n", stderr);
  return STRESS_USAGE;
}

int main(int argc, char** argv) {
  static trial_t trial;
  int exit_code = stress_play(argc, argv, stress_attacker);
  if (exit_code >= 0) return exit_code;
  exit_code = parse(&trial, argc, argv);
  if (exit_code != STRESS_OK) return exit_code;
  trial.progress = isatty(STDERR_FILENO) != 0;
  trial.stranger = geteuid() == 0;
  stage_catch_signals();
  run(&trial);
  end_attacker(&trial);
  stage_close(&trial.stage);
  if (trial.canary[0] != '\0') check_canary(&trial);
  trial.left = stage_sweep(&trial.stage);
  if (trial.left > 0) stage_fail(&trial.stage, "%u files were left behind", trial.left);
  if (trial.progress) fputs("\033[K", stderr);
  if (trial.json)
    print_json(&trial);
  else
    print_text(&trial);
  return fflush(stdout) == 0 && !trial.stage.failed ? STRESS_OK : STRESS_FAILED;
}
