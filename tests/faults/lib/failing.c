/* A disk that fails: with LD_PRELOAD, changes below a directory fail while a control file says so.
 *
 * FAILING_DIR      the directory; everything else is left alone
 * FAILING_CONTROL  a file that holds three words: N ERROR HOW
 *                  The N-th change since the file appeared fails with ERROR (ENOSPC or EIO); with HOW `once` only that one,
 *                  with `on` all that follow too, with `short` it is a write of half the bytes and all that follow fail.
 *                  Without the file nothing fails. What happened is appended to the file's name with `.log`.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum verdict { PASS, FAIL, HALF };

static atomic_long counted;

static int is_below(const char *path) {
  const char *dir = getenv("FAILING_DIR");
  size_t length = dir ? strlen(dir) : 0;
  return length > 0 && strncmp(path, dir, length) == 0 && (path[length] == '/' || path[length] == '\0');
}

static int fd_is_below(int fd, char *path) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, PATH_MAX - 1);
  if (length <= 0)
    return 0;
  path[length] = '\0';
  return is_below(path);
}

/* Raw calls: what this library does itself does not come back to it. */
static void note(const char *control, const char *what, const char *path, int error) {
  char name[PATH_MAX], line[PATH_MAX + 64];
  snprintf(name, sizeof name, "%s.log", control);
  int fd = syscall(SYS_openat, AT_FDCWD, name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (fd < 0)
    return;
  int length = snprintf(line, sizeof line, "%s %s %s\n", what, path, error == EIO ? "EIO" : "ENOSPC");
  if (syscall(SYS_write, fd, line, length) < 0)
    errno = 0;
  syscall(SYS_close, fd);
}

/* What becomes of a change of this path; sets errno when it fails. */
static enum verdict judge(const char *what, const char *path, int can_be_short) {
  const char *control = getenv("FAILING_CONTROL");
  char text[64] = {0}, error[16] = {0}, how[16] = {0};
  long first = 0;
  if (!control)
    return PASS;
  int kept = errno;
  int fd = syscall(SYS_openat, AT_FDCWD, control, O_RDONLY | O_CLOEXEC, 0);
  if (fd < 0) {
    errno = kept;
    counted = 0;
    return PASS;
  }
  long length = syscall(SYS_read, fd, text, sizeof text - 1);
  syscall(SYS_close, fd);
  errno = kept;
  if (length <= 0 || sscanf(text, "%ld %15s %15s", &first, error, how) != 3)
    return PASS;
  long now = ++counted;
  int number = strcmp(error, "EIO") == 0 ? EIO : ENOSPC;
  if (now < first || (now > first && strcmp(how, "once") == 0))
    return PASS;
  note(control, what, path, number);
  if (now == first && strcmp(how, "short") == 0)
    return can_be_short ? HALF : PASS;
  errno = number;
  return FAIL;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define WRITES(name, ARGS, PASSED, HALVED)                                                                             \
  ssize_t name ARGS {                                                                                                  \
    char path[PATH_MAX];                                                                                               \
    if (fd_is_below(fd, path))                                                                                         \
      switch (judge(#name, path, size > 1)) {                                                                          \
      case FAIL: return -1;                                                                                            \
      case HALF: return REAL(name) HALVED;                                                                             \
      case PASS: break;                                                                                                \
      }                                                                                                                \
    return REAL(name) PASSED;                                                                                          \
  }

WRITES(write, (int fd, const void *data, size_t size), (fd, data, size), (fd, data, size / 2))
WRITES(pwrite, (int fd, const void *data, size_t size, off_t at), (fd, data, size, at), (fd, data, size / 2, at))
WRITES(pwrite64, (int fd, const void *data, size_t size, off64_t at), (fd, data, size, at), (fd, data, size / 2, at))

ssize_t writev(int fd, const struct iovec *parts, int count) {
  char path[PATH_MAX];
  if (fd_is_below(fd, path) && judge("writev", path, 0) == FAIL)
    return -1;
  return REAL(writev)(fd, parts, count);
}

#define CHANGES(name, ARGS, PASSED)                                                                                    \
  int name ARGS {                                                                                                      \
    char path[PATH_MAX];                                                                                               \
    if (fd_is_below(fd, path) && judge(#name, path, 0) == FAIL)                                                        \
      return -1;                                                                                                       \
    return REAL(name) PASSED;                                                                                          \
  }

CHANGES(fsync, (int fd), (fd))
CHANGES(fdatasync, (int fd), (fd))
CHANGES(ftruncate, (int fd, off_t size), (fd, size))
CHANGES(ftruncate64, (int fd, off64_t size), (fd, size))
CHANGES(fallocate, (int fd, int mode, off_t at, off_t size), (fd, mode, at, size))

int posix_fallocate(int fd, off_t at, off_t size) {
  char path[PATH_MAX];
  if (fd_is_below(fd, path) && judge("posix_fallocate", path, 0) == FAIL)
    return errno; /* it returns its error */
  return REAL(posix_fallocate)(fd, at, size);
}

int rename(const char *from, const char *to) {
  if (is_below(to) && judge("rename", to, 0) == FAIL)
    return -1;
  return REAL(rename)(from, to);
}

int renameat(int from_dir, const char *from, int to_dir, const char *to) {
  if (is_below(to) && judge("renameat", to, 0) == FAIL)
    return -1;
  return REAL(renameat)(from_dir, from, to_dir, to);
}

static int is_for_writing(int flags) { return (flags & O_ACCMODE) != O_RDONLY || (flags & O_CREAT); }

#define OPENS(name, ARGS, PASSED)                                                                                      \
  int name ARGS {                                                                                                      \
    mode_t mode = 0;                                                                                                   \
    if (flags & (O_CREAT | O_TMPFILE)) {                                                                               \
      va_list more;                                                                                                    \
      va_start(more, flags);                                                                                           \
      mode = va_arg(more, mode_t);                                                                                     \
      va_end(more);                                                                                                    \
    }                                                                                                                  \
    if (is_for_writing(flags) && is_below(path) && judge(#name, path, 0) == FAIL)                                      \
      return -1;                                                                                                       \
    return REAL(name) PASSED;                                                                                          \
  }

OPENS(open, (const char *path, int flags, ...), (path, flags, mode))
OPENS(open64, (const char *path, int flags, ...), (path, flags, mode))
OPENS(openat, (int dir, const char *path, int flags, ...), (dir, path, flags, mode))
OPENS(openat64, (int dir, const char *path, int flags, ...), (dir, path, flags, mode))
