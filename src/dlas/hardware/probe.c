/* The ceilings of a processor: multiply-adds that stay in registers, and reads of a working set.
 *
 *   probe list                                        the kernels this build has, "name instruction";
 *                                                     no instruction where the system refuses it
 *   probe REPEATS SECONDS CPU[,CPU...] TASK [TASK...]  a TASK is kernel:threads:bytes
 *
 * Every task is run once per round for about SECONDS, REPEATS rounds, so that drift meets all tasks
 * alike; one that cannot be so short, in the first rounds only, five at least. Each run prints "task-index amount seconds": operations (2 per multiply-add), bytes read or,
 * for "clock", cycles; summed over its threads. Thread i runs on the i-th CPU of the list. */

#ifdef __linux__
#define _GNU_SOURCE
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

/* Accumulators start apart, or the compiler would see that they are equal and keep one. There are
 * more than latency × units of any core (4 × 4) and no more than registers. */
#if defined(__AVX512F__)
#define WIDTH 64
#define VECTOR_INSTRUCTION "512-bit fused multiply-add"
#elif defined(__AVX2__) && defined(__FMA__)
#define WIDTH 32
#define VECTOR_INSTRUCTION "256-bit fused multiply-add"
#else
#define WIDTH 16
#define VECTOR_INSTRUCTION "128-bit multiply and add"
#endif
#if defined(__AVX512F__) || defined(__aarch64__) || defined(__riscv)
#define EACH(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) \
                X(12) X(13) X(14) X(15) X(16) X(17) X(18) X(19) X(20) X(21) X(22) X(23)
#define ACCUMULATORS 24
#else
#define EACH(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)
#define ACCUMULATORS 12
#endif

typedef float floats __attribute__((vector_size(WIDTH)));
typedef uint64_t words __attribute__((vector_size(WIDTH)));

typedef struct {
    const char *name, *instruction;
    double (*run)(long count, const void *buffer, size_t bytes); /* the amount done */
} kernel;

static volatile char sink; /* keeps results alive */

static void keep(const void *value, size_t bytes) {
    const char *p = value;
    char x = 0;
    for (size_t i = 0; i < bytes; i++) x ^= p[i];
    sink = x;
}

#define KEEP(i) keep(&s##i, sizeof s##i);

static double fp32(long count, const void *buffer, size_t bytes) {
    (void)buffer, (void)bytes;
    floats a = {0}, b = {0};
    a += 0.999f, b += 0.001f; /* converges to 1: never denormal, never infinite */
#define SET(i) floats s##i = b * (float)i;
#define STEP(i) s##i = s##i * a + b;
    EACH(SET)
    for (long n = 0; n < count; n++) { EACH(STEP) }
    EACH(KEEP)
#undef SET
#undef STEP
    return 2.0 * (WIDTH / 4) * ACCUMULATORS * count;
}

/* A kernel of narrow numbers is a type of sums, an operand and a step; all of them are this loop.
 * Of several for one precision, the name of the others goes on after a dash. */
#define LOOP(NAME, SUM, START, OPERAND, ONE, OPERATIONS)                 \
    static double NAME(long count, const void *buffer, size_t bytes) {   \
        (void)buffer, (void)bytes;                                       \
        OPERAND x = ONE;                                                 \
        SUM sums[ACCUMULATORS];                                          \
        for (int i = 0; i < ACCUMULATORS; i++) sums[i] = START(i);       \
        EACH(TAKE)                                                       \
        for (long n = 0; n < count; n++) { EACH(NAME##_STEP) }           \
        EACH(KEEP)                                                       \
        return (double)(OPERATIONS) * ACCUMULATORS * count;              \
    }
#define TAKE(i) __typeof__(*sums) s##i = sums[i];

#if defined(__AVX512FP16__)
#define fp16_STEP(i) s##i = _mm512_fmadd_ph(s##i, x, x);
LOOP(fp16, __m512h, _mm512_set1_ph, __m512h, _mm512_set1_ph((_Float16)0.5), 64)
#define FP16 {"fp16", "vfmaddph (512 bits)", fp16},
#elif defined(__ARM_FEATURE_FP16_VECTOR_ARITHMETIC)
#define fp16_STEP(i) s##i = vfmaq_f16(x, s##i, x);
LOOP(fp16, float16x8_t, vdupq_n_f16, float16x8_t, vdupq_n_f16((float16_t)0.5), 16)
#define FP16 {"fp16", "fmla (8 float16)", fp16},
#endif

#if defined(__AVX512BF16__) && defined(__AVX512F__)
#define bf16_STEP(i) s##i = _mm512_dpbf16_ps(s##i, x, x);
LOOP(bf16, __m512, _mm512_set1_ps, __m512bh, (__m512bh)_mm512_set1_epi16(0x3F80), 64)
#define BF16 {"bf16", "vdpbf16ps (512 bits)", bf16},
#elif defined(__ARM_FEATURE_BF16_VECTOR_ARITHMETIC)
#define bf16_STEP(i) s##i = vbfmmlaq_f32(s##i, x, x);
LOOP(bf16, float32x4_t, vdupq_n_f32, bfloat16x8_t,
     vreinterpretq_bf16_u16(vdupq_n_u16(0x3F80)), 32)
#define BF16 {"bf16", "bfmmla", bf16},
#endif

#if defined(__AVX512VNNI__) && defined(__AVX512F__)
#define int8_STEP(i) s##i = _mm512_dpbusd_epi32(s##i, x, x);
LOOP(int8, __m512i, _mm512_set1_epi32, __m512i, _mm512_set1_epi8(1), 128)
#define INT8 {"int8", "vpdpbusd (512 bits)", int8},
#elif defined(__AVXVNNI__)
#define int8_STEP(i) s##i = _mm256_dpbusd_avx_epi32(s##i, x, x);
LOOP(int8, __m256i, _mm256_set1_epi32, __m256i, _mm256_set1_epi8(1), 64)
#define INT8 {"int8", "vpdpbusd (256 bits)", int8},
#elif defined(__ARM_FEATURE_DOTPROD)
#define int8_STEP(i) s##i = vdotq_s32(s##i, x, x);
LOOP(int8, int32x4_t, vdupq_n_s32, int8x16_t, vdupq_n_s8(1), 32)
#define INT8 {"int8", "sdot", int8},
#endif
#if defined(__ARM_FEATURE_MATMUL_INT8)
#define int8_matrix_STEP(i) s##i = vmmlaq_s32(s##i, x, x);
LOOP(int8_matrix, int32x4_t, vdupq_n_s32, int8x16_t, vdupq_n_s8(1), 64)
#define INT8_MATRIX {"int8-matrix", "smmla", int8_matrix},
#endif

/* Tiles: a matrix of 16 × 16 sums in one instruction. Linux lends them to a process that asks. */
#if defined(__AMX_TILE__) && defined(__linux__)
#define TILES
static int tiles_lent(void) {
    enum { REQUEST = 0x1023, TILE_DATA = 18 }; /* ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA */
    return syscall(SYS_arch_prctl, REQUEST, TILE_DATA) == 0;
}

typedef struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_shapes;

/* Four sums of two by two operands: as many as hide the latency. ``BYTE``: of an operand. */
#define TILE_LOOP(NAME, MULTIPLY, BYTE, OPERATIONS)                            \
    static double NAME(long count, const void *buffer, size_t bytes) {         \
        (void)buffer, (void)bytes;                                             \
        tile_shapes shapes = {.palette = 1};                                   \
        for (int i = 0; i < 8; i++) shapes.row_bytes[i] = 64, shapes.rows[i] = 16; \
        char operand[1024], sums[1024];                                        \
        memset(operand, BYTE, sizeof operand);                                 \
        _tile_loadconfig(&shapes);                                             \
        _tile_zero(0);                                                         \
        _tile_zero(1);                                                         \
        _tile_zero(2);                                                         \
        _tile_zero(3);                                                         \
        _tile_loadd(4, operand, 64);                                           \
        _tile_loadd(5, operand, 64);                                           \
        _tile_loadd(6, operand, 64);                                           \
        _tile_loadd(7, operand, 64);                                           \
        for (long n = 0; n < count; n++) {                                     \
            MULTIPLY(0, 4, 6);                                                 \
            MULTIPLY(1, 4, 7);                                                 \
            MULTIPLY(2, 5, 6);                                                 \
            MULTIPLY(3, 5, 7);                                                 \
        }                                                                      \
        _tile_stored(0, sums, 64);                                             \
        keep(sums, sizeof sums);                                               \
        _tile_release();                                                       \
        return 2.0 * 4 * (OPERATIONS) * count;                                 \
    }

#ifdef __AMX_BF16__
TILE_LOOP(bf16_matrix, _tile_dpbf16ps, 0x3C, 16 * 16 * 32)
#define BF16_MATRIX {"bf16-matrix", "tdpbf16ps (tiles)", bf16_matrix},
#endif
#ifdef __AMX_INT8__
TILE_LOOP(int8_matrix, _tile_dpbusd, 1, 16 * 16 * 64)
#define INT8_MATRIX {"int8-matrix", "tdpbusd (tiles)", int8_matrix},
#endif
#endif

static double read_all(long count, const void *buffer, size_t bytes) {
    const words *p = buffer;
    long vectors = (long)(bytes / WIDTH);
#define SET(i) words s##i = {0};
#define STEP(i) s##i ^= p[k + i];
#define EIGHT(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7)
    EIGHT(SET)
    for (long n = 0; n < count; n++) {
        for (long k = 0; k < vectors; k += 8) { EIGHT(STEP) }
        __asm__ volatile("" ::: "memory"); /* the next pass reads again */
    }
    EIGHT(KEEP)
#undef SET
#undef STEP
    return (double)vectors * WIDTH * count;
}

#if defined(__x86_64__) || defined(__aarch64__)
#define CLOCK_INSTRUCTION "chain of additions, one per cycle"
static double clock_cycles(long count, const void *buffer, size_t bytes) {
    (void)buffer, (void)bytes;
    uint64_t x = 1, y = 3;
    for (long n = 0; n < count; n++) {
#if defined(__x86_64__)
#define ADD "add %1, %0\n\t"
#else
#define ADD "add %0, %0, %1\n\t"
#endif
        __asm__ volatile(ADD ADD ADD ADD ADD ADD ADD ADD ADD ADD ADD ADD ADD ADD ADD ADD
                         : "+r"(x) : "r"(y));
    }
    keep(&x, sizeof x);
    return 16.0 * count;
}
#endif

static const kernel KERNELS[] = {
    {"fp32", VECTOR_INSTRUCTION, fp32},
#ifdef FP16
    FP16
#endif
#ifdef BF16
    BF16
#endif
#ifdef BF16_MATRIX
    BF16_MATRIX
#endif
#ifdef INT8
    INT8
#endif
#ifdef INT8_MATRIX
    INT8_MATRIX
#endif
#ifdef CLOCK_INSTRUCTION
    {"clock", CLOCK_INSTRUCTION, clock_cycles},
#endif
    {"read", "vector loads", read_all},
};
#define KERNEL_COUNT (sizeof KERNELS / sizeof *KERNELS)
#define MOST_THREADS 1024

typedef struct {
    const kernel *kernel;
    int threads;
    size_t bytes;
    long count;
    int rounds;
} task;

typedef struct {
    const task *task;
    long count;
    int index;
    double amount, start_s, end_s;
} job;

static int cpus[MOST_THREADS], cpu_count;
static void *buffers[MOST_THREADS]; /* one per thread, first written by that thread */
static size_t buffer_bytes[MOST_THREADS];
static atomic_int arrived;

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + 1e-9 * t.tv_nsec;
}

static void *work(void *argument) {
    job *j = argument;
    size_t bytes = j->task->bytes;
#ifdef __linux__
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpus[j->index % cpu_count], &set);
    sched_setaffinity(0, sizeof set, &set);
#endif
    if (buffer_bytes[j->index] < bytes) {
        free(buffers[j->index]);
        if (posix_memalign(&buffers[j->index], 4096, bytes)) {
            fprintf(stderr, "probe: no memory for a working set of %zu bytes\n", bytes);
            exit(1);
        }
        memset(buffers[j->index], 1, bytes);
        buffer_bytes[j->index] = bytes;
    }
    /* Into the caches, and to the clock frequency that wide vectors are given. */
    j->task->kernel->run(j->count / 8 + 1, buffers[j->index], bytes);
    atomic_fetch_add(&arrived, 1);
    while (atomic_load(&arrived) < j->task->threads) continue;
    j->start_s = now_s();
    j->amount = j->task->kernel->run(j->count, buffers[j->index], bytes);
    j->end_s = now_s();
    return NULL;
}

/* Runs the task on its threads; the amount of all and the time from the first start to the last end. */
static void run(const task *t, long count, double *amount, double *seconds) {
    static job jobs[MOST_THREADS];
    static pthread_t threads[MOST_THREADS];
    atomic_store(&arrived, 0);
    for (int i = 0; i < t->threads; i++) {
        jobs[i] = (job){.task = t, .count = count, .index = i};
        if (pthread_create(&threads[i], NULL, work, &jobs[i])) {
            fprintf(stderr, "probe: cannot start %d threads\n", t->threads);
            exit(1);
        }
    }
    double start_s = 0, end_s = 0;
    *amount = 0;
    for (int i = 0; i < t->threads; i++) {
        pthread_join(threads[i], NULL);
        *amount += jobs[i].amount;
        if (i == 0 || jobs[i].start_s < start_s) start_s = jobs[i].start_s;
        if (jobs[i].end_s > end_s) end_s = jobs[i].end_s;
    }
    *seconds = end_s - start_s;
}

/* Before the threads start, which inherit what the process was lent. */
static int refused(const kernel *k) {
#ifdef TILES
    return strstr(k->instruction, "(tiles)") && !tiles_lent();
#else
    (void)k;
    return 0;
#endif
}

static int usage(void) {
    fprintf(stderr, "usage: probe list | probe REPEATS SECONDS CPUS KERNEL:THREADS:BYTES...\n");
    return 2;
}

static int parse(const char *text, task *t) {
    char name[16];
    if (sscanf(text, "%15[^:]:%d:%zu", name, &t->threads, &t->bytes) != 3) return 0;
    if (t->threads < 1 || t->threads > MOST_THREADS) return 0;
    t->bytes -= t->bytes % (8 * WIDTH);
    for (size_t k = 0; k < KERNEL_COUNT; k++)
        if (!strcmp(name, KERNELS[k].name)) {
            t->kernel = &KERNELS[k];
            return !refused(t->kernel);
        }
    return 0;
}

int main(int argc, char **argv) {
    if (argc == 2 && !strcmp(argv[1], "list")) {
        for (size_t k = 0; k < KERNEL_COUNT; k++)
            printf("%s %s\n", KERNELS[k].name, refused(&KERNELS[k]) ? "" : KERNELS[k].instruction);
        return 0;
    }
    if (argc < 5) return usage();
    int repeats = atoi(argv[1]);
    double target_s = atof(argv[2]);
    for (char *cpu = strtok(argv[3], ","); cpu && cpu_count < MOST_THREADS; cpu = strtok(NULL, ","))
        cpus[cpu_count++] = atoi(cpu);
    int tasks = argc - 4;
    task *all = calloc(tasks, sizeof *all);
    if (!all || repeats < 1 || cpu_count < 1) return usage();
    double amount, seconds;
    for (int i = 0; i < tasks; i++) {
        if (!parse(argv[4 + i], &all[i])) return usage();
        for (all[i].count = 1;; all[i].count *= 2) {
            run(&all[i], all[i].count, &amount, &seconds);
            if (seconds >= target_s / 4) break;
        }
        all[i].count = (long)(all[i].count * target_s / seconds) + 1;
        all[i].rounds = repeats;
        if (all[i].count == 1 && seconds > target_s && repeats > 5) {
            int fitting = (int)(repeats * target_s / seconds);
            all[i].rounds = fitting > 5 ? fitting : 5;
        }
    }
    for (int round = 0; round < repeats; round++)
        for (int i = 0; i < tasks; i++) {
            if (round >= all[i].rounds) continue;
            run(&all[i], all[i].count, &amount, &seconds);
            printf("%d %.17g %.17g\n", i, amount, seconds);
        }
    return 0;
}
