/* Runs a fuzz target over saved inputs: every file given, and every file in each folder given.
 * Exits 1 when there is none, so that an empty corpus is noticed. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned long count;

static void run_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f) {
        perror(path);
        exit(1);
    }
    size_t cap = (size_t)4 << 20;
    uint8_t *data = malloc(cap);
    size_t n = data ? fread(data, 1, cap, f) : 0;
    (void)fclose(f);
    /* An exact-size copy, so that the sanitizer sees a read past the end. */
    uint8_t *exact = malloc(n ? n : 1);
    for (size_t i = 0; exact && i < n; i++) {
        exact[i] = data[i];
    }
    free(data);
    if (exact) {
        LLVMFuzzerTestOneInput(exact, n);
        count++;
    }
    free(exact);
}

static void run_path(const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0) {
        perror(path);
        exit(1);
    }
    if (!S_ISDIR(st.st_mode)) {
        run_file(path);
        return;
    }
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));) {
        char full[4096];
        if (e->d_name[0] != '.') {
            (void)snprintf(full, sizeof(full), "%s/%s", path, e->d_name);
            run_file(full);
        }
    }
    if (d) {
        closedir(d);
    }
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        run_path(argv[i]);
    }
    printf("%lu inputs\n", count);
    return count ? 0 : 1;
}
