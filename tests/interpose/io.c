/* Stands between a process and its disk: makes the Nth call that changes a file below one folder fail, or be the last
 * thing that the process does, or makes the Nth call that reads one fail. Loaded by LD_PRELOAD; told by the environment:
 *
 *   ALTHING_IO_DIR    the folder; calls on other files are left alone
 *   ALTHING_IO_COUNT  a file of 24 bytes that is shared with whoever watches: how many calls that change something so
 *                     far, the kind of the one that was chosen (see `kind`), and how many that read
 *   ALTHING_IO_AT     which call, from 1; 0: only count
 *   ALTHING_IO_HOW    `unread`: of the calls that read, it fails with EIO; all others are about those that change
 *                     something: `fail`: it fails with EIO; `full`: with ENOSPC; `lasting`: it and all after it fail with EIO;
 *                     `crash`: the process ends before it; `torn`: half of it is done, then the process ends;
 *                     `after`: it is done, then the process ends
 *
 * What changes something: opening with O_CREAT, write, pwrite, writev, pwritev, fsync, fdatasync, ftruncate, fallocate,
 * rename, unlink, link, mkdir. What reads: read, pread, readv. What SQLite has in its shared memory is no call.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

/* tests/src/nth/judge.rs knows the number of SYNC. */
enum kind { OPEN = 1, WRITE, SYNC, TRUNCATE, ALLOCATE, RENAME, UNLINK, LINK, MKDIR, SYNC_FOLDER, READ };

enum what { PASS, FAIL, TORN, AFTER };

static const char *dir;
static size_t dir_len;
static const char *how = "";
static uint64_t chosen;
static _Atomic uint64_t *shared;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void begin(void) {
    const char *at = getenv("ALTHING_IO_AT");
    const char *count = getenv("ALTHING_IO_COUNT");
    const char *folder = getenv("ALTHING_IO_DIR");
    if (getenv("ALTHING_IO_HOW")) how = getenv("ALTHING_IO_HOW");
    if (!count || !folder) return;
    int (*real_open)(const char *, int, ...) = dlsym(RTLD_NEXT, "open");
    int fd = real_open(count, O_RDWR | O_CLOEXEC);
    if (fd < 0) return;
    void *page = mmap(NULL, 24, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (page == MAP_FAILED) return;
    chosen = at ? strtoull(at, NULL, 10) : 0;
    dir_len = strlen(folder);
    dir = folder;
    shared = page;
}

static int below(const char *path) {
    pthread_once(&once, begin);
    if (!dir || !path) return 0;
    char here[PATH_MAX];
    if (path[0] != '/') {
        if (!getcwd(here, sizeof here)) return 0;
        size_t used = strlen(here);
        snprintf(here + used, sizeof here - used, "/%s", path);
        path = here;
    }
    return strncmp(path, dir, dir_len) == 0;
}

static int below_fd(int fd) {
    pthread_once(&once, begin);
    if (!dir) return 0;
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return strncmp(path, dir, dir_len) == 0;
}

static enum kind sync_kind(int fd) {
    struct stat is;
    return fstat(fd, &is) == 0 && S_ISDIR(is.st_mode) ? SYNC_FOLDER : SYNC;
}

/* One more call: what is to become of it. */
static enum what next(enum kind kind) {
    uint64_t number = atomic_fetch_add(&shared[0], 1) + 1;
    if (chosen == 0 || number < chosen || strcmp(how, "unread") == 0) return PASS;
    int lasting = strcmp(how, "lasting") == 0;
    if (number > chosen && !lasting) return PASS;
    if (number == chosen) atomic_store(&shared[1], kind);
    if (strcmp(how, "crash") == 0) _exit(99);
    if (strcmp(how, "torn") == 0) return TORN;
    if (strcmp(how, "after") == 0) return AFTER;
    errno = strcmp(how, "full") == 0 ? ENOSPC : EIO;
    return FAIL;
}

/* One more call that reads: whether it fails. */
static int unread(void) {
    uint64_t number = atomic_fetch_add(&shared[2], 1) + 1;
    if (number != chosen || strcmp(how, "unread") != 0) return 0;
    atomic_store(&shared[1], READ);
    errno = EIO;
    return 1;
}

#define REAL(name) __typeof__(&name) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)
/* Does a call that cannot be done by half. */
#define WHOLE(mine, kind, call)                       \
    do {                                              \
        if (!(mine)) return call;                     \
        switch (next(kind)) {                         \
        case PASS: return call;                       \
        case FAIL: return -1;                         \
        case TORN: _exit(99);                         \
        case AFTER: (void)!call; _exit(99);           \
        }                                             \
        return -1;                                    \
    } while (0)
/* Does a call that writes `size` bytes; `half` writes some of them. */
#define WRITES(mine, call, half)                      \
    do {                                              \
        if (!(mine)) return call;                     \
        switch (next(WRITE)) {                        \
        case PASS: return call;                       \
        case FAIL: return -1;                         \
        case TORN: (void)!half; _exit(99);            \
        case AFTER: (void)!call; _exit(99);           \
        }                                             \
        return -1;                                    \
    } while (0)

#define MODE(flags, last)                             \
    mode_t mode = 0;                                  \
    if ((flags) & (O_CREAT | __O_TMPFILE)) {          \
        va_list more;                                 \
        va_start(more, last);                         \
        mode = va_arg(more, mode_t);                  \
        va_end(more);                                 \
    }

int open(const char *path, int flags, ...) {
    MODE(flags, flags);
    REAL(open);
    WHOLE((flags & O_CREAT) && below(path), OPEN, real(path, flags, mode));
}
int open64(const char *path, int flags, ...) {
    MODE(flags, flags);
    REAL(open64);
    WHOLE((flags & O_CREAT) && below(path), OPEN, real(path, flags, mode));
}
int openat(int at, const char *path, int flags, ...) {
    MODE(flags, flags);
    REAL(openat);
    WHOLE((flags & O_CREAT) && at == AT_FDCWD && below(path), OPEN, real(at, path, flags, mode));
}
int openat64(int at, const char *path, int flags, ...) {
    MODE(flags, flags);
    REAL(openat64);
    WHOLE((flags & O_CREAT) && at == AT_FDCWD && below(path), OPEN, real(at, path, flags, mode));
}
ssize_t write(int fd, const void *bytes, size_t size) {
    REAL(write);
    WRITES(below_fd(fd), real(fd, bytes, size), real(fd, bytes, size / 2));
}
ssize_t pwrite(int fd, const void *bytes, size_t size, off_t at) {
    REAL(pwrite);
    WRITES(below_fd(fd), real(fd, bytes, size, at), real(fd, bytes, size / 2, at));
}
ssize_t pwrite64(int fd, const void *bytes, size_t size, off64_t at) {
    REAL(pwrite64);
    WRITES(below_fd(fd), real(fd, bytes, size, at), real(fd, bytes, size / 2, at));
}
ssize_t writev(int fd, const struct iovec *parts, int count) {
    REAL(writev);
    WRITES(below_fd(fd), real(fd, parts, count), real(fd, parts, count / 2));
}
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at) {
    REAL(pwritev);
    WRITES(below_fd(fd), real(fd, parts, count, at), real(fd, parts, count / 2, at));
}
int fsync(int fd) {
    REAL(fsync);
    WHOLE(below_fd(fd), sync_kind(fd), real(fd));
}
int fdatasync(int fd) {
    REAL(fdatasync);
    WHOLE(below_fd(fd), sync_kind(fd), real(fd));
}
int ftruncate(int fd, off_t size) {
    REAL(ftruncate);
    WHOLE(below_fd(fd), TRUNCATE, real(fd, size));
}
int ftruncate64(int fd, off64_t size) {
    REAL(ftruncate64);
    WHOLE(below_fd(fd), TRUNCATE, real(fd, size));
}
int fallocate(int fd, int mode, off_t at, off_t size) {
    REAL(fallocate);
    WHOLE(below_fd(fd), ALLOCATE, real(fd, mode, at, size));
}
int rename(const char *from, const char *to) {
    REAL(rename);
    WHOLE(below(to), RENAME, real(from, to));
}
int unlink(const char *path) {
    REAL(unlink);
    WHOLE(below(path), UNLINK, real(path));
}
int link(const char *from, const char *to) {
    REAL(link);
    WHOLE(below(to), LINK, real(from, to));
}
int mkdir(const char *path, mode_t mode) {
    REAL(mkdir);
    WHOLE(below(path), MKDIR, real(path, mode));
}
ssize_t read(int fd, void *bytes, size_t size) {
    REAL(read);
    return below_fd(fd) && unread() ? -1 : real(fd, bytes, size);
}
ssize_t pread(int fd, void *bytes, size_t size, off_t at) {
    REAL(pread);
    return below_fd(fd) && unread() ? -1 : real(fd, bytes, size, at);
}
ssize_t pread64(int fd, void *bytes, size_t size, off64_t at) {
    REAL(pread64);
    return below_fd(fd) && unread() ? -1 : real(fd, bytes, size, at);
}
ssize_t readv(int fd, const struct iovec *parts, int count) {
    REAL(readv);
    return below_fd(fd) && unread() ? -1 : real(fd, parts, count);
}
