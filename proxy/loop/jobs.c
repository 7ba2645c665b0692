/* A fixed number of threads and one bounded queue of jobs. Jobs are the submitters' memory; nothing
 * is allocated here after the start. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "proxy/loop/jobs.h"

#define THREADS_MAX 64U

struct jobs {
    pthread_mutex_t lock;
    pthread_cond_t work_waiting;
    struct job *first; /* under lock, as all below */
    struct job **last;
    unsigned queued;
    unsigned queue_max;
    bool stopping;
    unsigned thread_count; /* fixed after jobs_new */
    pthread_t threads[THREADS_MAX];
};

static void deliver_done(struct message *m)
{
    struct job *job = container_of(m, struct job, message);
    job->done(job);
}

static struct job *take(struct jobs *j)
{
    pthread_mutex_lock(&j->lock);
    while (!j->first && !j->stopping) {
        pthread_cond_wait(&j->work_waiting, &j->lock);
    }
    struct job *job = j->stopping ? NULL : j->first;
    if (job) {
        j->first = job->next;
        if (!j->first) {
            j->last = &j->first;
        }
        j->queued--;
    }
    pthread_mutex_unlock(&j->lock);
    return job;
}

static void *run_thread(void *arg)
{
    struct jobs *j = arg;
    struct job *job;
    while ((job = take(j)) != NULL) {
        bool has_done = job->done != NULL; /* without it the job is gone after work */
        struct loop *l = job->loop;
        job->work(job);
        if (has_done) {
            loop_send(l, &job->message);
        }
    }
    return NULL;
}

static void start_threads(struct jobs *j, unsigned threads, int *errnum)
{
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (j->thread_count < threads) {
        *errnum = pthread_create(&j->threads[j->thread_count], NULL, run_thread, j);
        if (*errnum) {
            break;
        }
        j->thread_count++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

struct jobs *jobs_new(unsigned threads, unsigned queue_max, struct err *err)
{
    struct jobs *j = calloc(1, sizeof(*j));
    if (!j) {
        err_set(err, "starting the thread pool: out of memory");
        return NULL;
    }
    pthread_mutex_init(&j->lock, NULL);
    pthread_cond_init(&j->work_waiting, NULL);
    j->last = &j->first;
    j->queue_max = queue_max;
    threads = threads < 1 ? 1 : threads > THREADS_MAX ? THREADS_MAX : threads;
    int errnum = 0;
    start_threads(j, threads, &errnum);
    if (j->thread_count == 0) {
        err_errno(err, errnum, "starting the thread pool");
        jobs_free(j);
        return NULL;
    }
    return j;
}

void jobs_free(struct jobs *j)
{
    if (!j) {
        return;
    }
    pthread_mutex_lock(&j->lock);
    j->stopping = true;
    pthread_cond_broadcast(&j->work_waiting);
    pthread_mutex_unlock(&j->lock);
    for (unsigned i = 0; i < j->thread_count; i++) {
        pthread_join(j->threads[i], NULL);
    }
    for (struct job *job = j->first, *next; job; job = next) {
        next = job->next;
        if (job->dropped) {
            job->dropped(job);
        }
    }
    pthread_cond_destroy(&j->work_waiting);
    pthread_mutex_destroy(&j->lock);
    free(j);
}

bool job_submit(struct jobs *j, struct loop *l, struct job *job)
{
    job->next = NULL;
    job->loop = l;
    job->message.deliver = deliver_done;
    pthread_mutex_lock(&j->lock);
    bool fits = !j->stopping && j->queued < j->queue_max;
    if (fits) {
        *j->last = job;
        j->last = &job->next;
        j->queued++;
        pthread_cond_signal(&j->work_waiting);
    }
    pthread_mutex_unlock(&j->lock);
    return fits;
}
