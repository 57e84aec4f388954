/* A file system that mirrors a directory, and hangs or fails while a control file says so.
 *
 *   moody DIRECTORY CONTROL MOUNTPOINT -f [-o allow_other]
 *
 * Without CONTROL it does what the directory does. With it, whoever asks waits until it is gone when it holds `hang`, and is
 * told the error when it holds EACCES, ESTALE or EIO.
 */
#define FUSE_USE_VERSION 31
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static const char *root, *control;

/* Waits as long as it hangs; gives the error that is to be told, as FUSE has it, or 0. */
static int mood(void) {
  for (;;) {
    char text[16] = {0};
    int fd = open(control, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
      return 0;
    ssize_t length = read(fd, text, sizeof text - 1);
    close(fd);
    if (length > 0 && strncmp(text, "EACCES", 6) == 0)
      return -EACCES;
    if (length > 0 && strncmp(text, "ESTALE", 6) == 0)
      return -ESTALE;
    if (length > 0 && strncmp(text, "EIO", 3) == 0)
      return -EIO;
    usleep(20000);
  }
}

/* Every operation begins here: `there` is the path in the mirrored directory. */
#define BEGIN                                                                                                          \
  char there[PATH_MAX];                                                                                                \
  int told = mood();                                                                                                   \
  if (told)                                                                                                            \
    return told;                                                                                                       \
  snprintf(there, sizeof there, "%s%s", root, path)

#define ENDED(call) return (call) < 0 ? -errno : 0

static int do_getattr(const char *path, struct stat *to, struct fuse_file_info *info) {
  (void)info;
  BEGIN;
  ENDED(lstat(there, to));
}

static int do_access(const char *path, int mask) {
  BEGIN;
  ENDED(access(there, mask));
}

static int do_readlink(const char *path, char *to, size_t size) {
  BEGIN;
  ssize_t length = readlink(there, to, size - 1);
  if (length < 0)
    return -errno;
  to[length] = '\0';
  return 0;
}

static int do_readdir(const char *path, void *to, fuse_fill_dir_t fill, off_t at, struct fuse_file_info *info,
                      enum fuse_readdir_flags flags) {
  (void)at, (void)info, (void)flags;
  BEGIN;
  DIR *directory = opendir(there);
  if (!directory)
    return -errno;
  for (struct dirent *entry; (entry = readdir(directory));)
    if (fill(to, entry->d_name, NULL, 0, 0))
      break;
  closedir(directory);
  return 0;
}

static int do_mkdir(const char *path, mode_t mode) {
  BEGIN;
  ENDED(mkdir(there, mode));
}

static int do_unlink(const char *path) {
  BEGIN;
  ENDED(unlink(there));
}

static int do_rmdir(const char *path) {
  BEGIN;
  ENDED(rmdir(there));
}

static int do_symlink(const char *target, const char *path) {
  BEGIN;
  ENDED(symlink(target, there));
}

static int do_rename(const char *path, const char *to, unsigned int flags) {
  BEGIN;
  char target[PATH_MAX];
  snprintf(target, sizeof target, "%s%s", root, to);
  ENDED(renameat2(AT_FDCWD, there, AT_FDCWD, target, flags));
}

static int do_link(const char *path, const char *to) {
  BEGIN;
  char target[PATH_MAX];
  snprintf(target, sizeof target, "%s%s", root, to);
  ENDED(link(there, target));
}

static int do_chmod(const char *path, mode_t mode, struct fuse_file_info *info) {
  (void)info;
  BEGIN;
  ENDED(chmod(there, mode));
}

static int do_chown(const char *path, uid_t user, gid_t group, struct fuse_file_info *info) {
  (void)info;
  BEGIN;
  ENDED(lchown(there, user, group));
}

static int do_truncate(const char *path, off_t size, struct fuse_file_info *info) {
  (void)info;
  BEGIN;
  ENDED(truncate(there, size));
}

static int do_utimens(const char *path, const struct timespec times[2], struct fuse_file_info *info) {
  (void)info;
  BEGIN;
  ENDED(utimensat(AT_FDCWD, there, times, AT_SYMLINK_NOFOLLOW));
}

static int do_open(const char *path, struct fuse_file_info *info) {
  BEGIN;
  int fd = open(there, info->flags);
  if (fd < 0)
    return -errno;
  info->fh = fd;
  return 0;
}

static int do_create(const char *path, mode_t mode, struct fuse_file_info *info) {
  BEGIN;
  int fd = open(there, info->flags, mode);
  if (fd < 0)
    return -errno;
  info->fh = fd;
  return 0;
}

static int do_read(const char *path, char *to, size_t size, off_t at, struct fuse_file_info *info) {
  BEGIN;
  ssize_t length = pread(info->fh, to, size, at);
  return length < 0 ? -errno : (int)length;
}

static int do_write(const char *path, const char *from, size_t size, off_t at, struct fuse_file_info *info) {
  BEGIN;
  ssize_t length = pwrite(info->fh, from, size, at);
  return length < 0 ? -errno : (int)length;
}

static int do_fsync(const char *path, int only_data, struct fuse_file_info *info) {
  BEGIN;
  ENDED(only_data ? fdatasync(info->fh) : fsync(info->fh));
}

static int do_release(const char *path, struct fuse_file_info *info) {
  (void)path;
  ENDED(close(info->fh));
}

static int do_statfs(const char *path, struct statvfs *to) {
  BEGIN;
  ENDED(statvfs(there, to));
}

/* Nothing is kept: a mood shows at once. */
static void *do_init(struct fuse_conn_info *connection, struct fuse_config *config) {
  (void)connection;
  config->entry_timeout = config->attr_timeout = config->negative_timeout = 0;
  config->direct_io = 1;
  config->hard_remove = 1;
  return NULL;
}

static const struct fuse_operations operations = {
    .init = do_init,         .getattr = do_getattr, .access = do_access,   .readlink = do_readlink,
    .readdir = do_readdir,   .mkdir = do_mkdir,     .unlink = do_unlink,   .rmdir = do_rmdir,
    .symlink = do_symlink,   .rename = do_rename,   .link = do_link,       .chmod = do_chmod,
    .chown = do_chown,       .truncate = do_truncate, .utimens = do_utimens, .open = do_open,
    .create = do_create,     .read = do_read,       .write = do_write,     .fsync = do_fsync,
    .release = do_release,   .statfs = do_statfs,
};

int main(int count, char **words) {
  if (count < 4) {
    fprintf(stderr, "usage: moody DIRECTORY CONTROL MOUNTPOINT [FUSE OPTION...]\n");
    return 2;
  }
  root = words[1], control = words[2];
  words[2] = words[0];
  umask(0);
  return fuse_main(count - 2, words + 2, &operations, NULL);
}
