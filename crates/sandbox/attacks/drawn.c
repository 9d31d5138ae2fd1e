/* Draws from an OpenSSL that is part of the program: a key, and random numbers on both sides of a fork. */
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static int told(const unsigned char *bytes, size_t count) {
    for (size_t at = 0; at < count; at++) printf("%02x", bytes[at]);
    puts("");
    return fflush(stdout);
}

static int drawn(void) {
    unsigned char bytes[16];
    return RAND_bytes(bytes, sizeof bytes) == 1 ? told(bytes, sizeof bytes) : 1;
}

int main(void) {
    unsigned char public[32];
    size_t length = sizeof public;
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    if (!key || EVP_PKEY_get_raw_public_key(key, public, &length) != 1 || told(public, length) || drawn()) return 1;
    pid_t child = fork();
    if (child == 0) return drawn();
    int status = 1;
    return waitpid(child, &status, 0) != child || status || drawn();
}
