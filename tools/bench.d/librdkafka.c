/* The producer of librdkafka on its own, as `benches/producer` is ours: queues so many records as fast as it takes them, waits until Kafka
 * has acknowledged all, and says what that cost as one line of JSON. Set as a careful user would: idempotent, acks of all, five requests
 * under way, batches up to 1 MB.
 *
 * librdkafka KAFKA TOPIC RECORDS VALUE-FILE COMPRESSION
 */
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

static long long failed, answered;

static void on_report(rd_kafka_t *producer, const rd_kafka_message_t *message, void *opaque) {
    (void)producer;
    (void)opaque;
    answered++;
    if (message->err) failed++;
}

static double cpu_s(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static double now_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + now.tv_nsec / 1e9;
}

static void set(rd_kafka_conf_t *conf, const char *name, const char *value) {
    char text[256];
    if (rd_kafka_conf_set(conf, name, value, text, sizeof text) != RD_KAFKA_CONF_OK) {
        fprintf(stderr, "%s=%s: %s\n", name, value, text);
        exit(1);
    }
}

static size_t read_file(const char *path, char *bytes, size_t room) {
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        exit(1);
    }
    size_t count = fread(bytes, 1, room, file);
    fclose(file);
    return count;
}

int main(int count, char **arguments) {
    if (count != 6) {
        fprintf(stderr, "librdkafka KAFKA TOPIC RECORDS VALUE-FILE COMPRESSION\n");
        return 2;
    }
    long long records = atoll(arguments[3]);
    static char value[65536];
    size_t bytes = read_file(arguments[4], value, sizeof value - 1);
    char *place = strstr(value, "0000000000");
    if (!place) {
        fprintf(stderr, "the value has no 0000000000 in it\n");
        return 1;
    }
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    set(conf, "bootstrap.servers", arguments[1]);
    set(conf, "enable.idempotence", "true");
    set(conf, "acks", "all");
    set(conf, "linger.ms", "5");
    set(conf, "batch.size", "1000000");
    set(conf, "batch.num.messages", "100000");
    set(conf, "queue.buffering.max.messages", "100000");
    set(conf, "queue.buffering.max.kbytes", "65536");
    set(conf, "compression.codec", arguments[5]);
    rd_kafka_conf_set_dr_msg_cb(conf, on_report);
    char text[256];
    rd_kafka_t *producer = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
    if (!producer) {
        fprintf(stderr, "%s\n", text);
        return 1;
    }
    rd_kafka_topic_t *topic = rd_kafka_topic_new(producer, arguments[2], NULL);
    double began = now_s(), cpu_before = cpu_s();
    for (long long number = 0; number < records; number++) {
        char digits[16];
        snprintf(digits, sizeof digits, "%010lld", number);
        memcpy(place, digits, 10);
        while (rd_kafka_produce(topic, RD_KAFKA_PARTITION_UA, RD_KAFKA_MSG_F_COPY, value, bytes, NULL, 0, NULL) == -1) {
            if (rd_kafka_last_error() != RD_KAFKA_RESP_ERR__QUEUE_FULL) {
                fprintf(stderr, "%s\n", rd_kafka_err2str(rd_kafka_last_error()));
                return 1;
            }
            rd_kafka_poll(producer, 10);
        }
        if (number % 256 == 0) rd_kafka_poll(producer, 0);
    }
    rd_kafka_flush(producer, 30000);
    double wall = now_s() - began, cpu = cpu_s() - cpu_before;
    printf("{\"records\":%lld,\"unacknowledged\":%lld,\"cpu_s\":%.4f,\"wall_s\":%.4f}\n", records, records - answered + failed, cpu, wall);
    rd_kafka_topic_destroy(topic);
    rd_kafka_destroy(producer);
    return 0;
}
