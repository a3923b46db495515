/* Numbers and times as JSON spells them. What is spelled otherwise is not read here. */
#include "core.h"

#include <float.h>
#include <string.h>

static const double TENS[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                              1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
#define EXACT_MAX (1ULL << 53) /* integers up to here are doubles, so that one division is correctly rounded */
#define DIGITS_MAX 19          /* that 64 bits hold whatever they are */
#define TEXT_MAX 400

static inline int is_digit(char c) { return (unsigned char)(c - '0') < 10; }

int read_whole(const char **at, const char *end, int64_t *value) {
    const char *p = *at;
    int is_negative = p < end && *p == '-';
    if (is_negative) p++;
    const char *first = p;
    uint64_t sum = 0;
    while (p < end && is_digit(*p) && p - first < DIGITS_MAX) sum = sum * 10 + (uint64_t)(*p++ - '0');
    if (p == first || (*first == '0' && p - first > 1)) return 0;
    if (p < end && (is_digit(*p) || *p == '.' || *p == 'e' || *p == 'E')) return 0;
    if (sum > (uint64_t)INT64_MAX) return 0;
    *value = is_negative ? -(int64_t)sum : (int64_t)sum;
    *at = p;
    return 1;
}

/* Let the C library's own rounding decide: for more digits than a double holds, and exponents. */
static int read_slowly(const char *begin, const char *end, double *value) {
    char text[TEXT_MAX + 1];
    size_t size = (size_t)(end - begin);
    if (size > TEXT_MAX) return 0;
    memcpy(text, begin, size);
    text[size] = 0;
    char *stop = NULL;
    double number = PyOS_string_to_double(text, &stop, NULL);
    if (number == -1.0 && PyErr_Occurred()) {
        PyErr_Clear();
        return 0;
    }
    if (stop != text + size) return 0;
    *value = number;
    return 1;
}

static inline int read_decimal(const char **at, const char *end, int may_be_scaled, double *value) {
    const char *begin = *at, *p = begin;
    int is_negative = may_be_scaled && p < end && *p == '-';
    if (is_negative) p++;
    const char *first = p;
    uint64_t sum = 0;
    while (p < end && is_digit(*p)) sum = sum * 10 + (uint64_t)(*p++ - '0');
    Py_ssize_t digits = p - first, decimals = 0;
    if (digits == 0 || (*first == '0' && digits > 1)) return 0;
    if (p < end && *p == '.') {
        const char *dot = ++p;
        while (p < end && is_digit(*p)) sum = sum * 10 + (uint64_t)(*p++ - '0');
        decimals = p - dot;
        if (decimals == 0) return 0;
        digits += decimals;
    }
    int is_scaled = p < end && (*p == 'e' || *p == 'E');
    if (is_scaled) {
        if (!may_be_scaled) return 0;
        p++;
        if (p < end && (*p == '+' || *p == '-')) p++;
        if (p == end || !is_digit(*p)) return 0;
        while (p < end && is_digit(*p)) p++;
    }
    *at = p;
#if FLT_EVAL_METHOD == 0
    if (!is_scaled && digits <= DIGITS_MAX && sum <= EXACT_MAX) {
        double number = (double)sum / TENS[decimals];
        *value = is_negative ? -number : number;
        return !(is_negative && sum == 0); /* whether that is below zero depends on who reads it */
    }
#endif
    return read_slowly(begin, p, value) && !(is_negative && *value == 0);
}

int read_real(const char **at, const char *end, double *value) { return read_decimal(at, end, 1, value); }

int read_digits(const char **at, const char *end, double *value) { return read_decimal(at, end, 0, value); }

static int read_part(const char *at, int count) {
    int sum = 0;
    for (int i = 0; i < count; i++) {
        if (!is_digit(at[i])) return -1;
        sum = sum * 10 + (at[i] - '0');
    }
    return sum;
}

int read_time(const char *at, const char *end, int64_t *microseconds) {
    static const int LENGTHS[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (end - at < 20 || end - at > 30 || at[4] != '-' || at[7] != '-' || at[10] != 'T' || at[13] != ':' || at[16] != ':' || end[-1] != 'Z')
        return 0;
    int year = read_part(at, 4), month = read_part(at + 5, 2), day = read_part(at + 8, 2);
    int hour = read_part(at + 11, 2), minute = read_part(at + 14, 2), second = read_part(at + 17, 2);
    if (year < 1970 || month < 1 || month > 12 || day < 1 || hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 59)
        return 0;
    int is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    if (day > LENGTHS[month - 1] + (is_leap && month == 2)) return 0;
    int64_t fine = 0;
    const char *p = at + 19;
    if (*p == '.') {
        const char *first = ++p;
        for (; p < end - 1; p++) {
            if (!is_digit(*p)) return 0;
            if (p - first < 6) fine = fine * 10 + (*p - '0');
        }
        if (p == first) return 0;
        for (Py_ssize_t places = p - first; places < 6; places++) fine *= 10;
    }
    if (p != end - 1) return 0;
    int64_t days = 365 * (int64_t)(year - 1970) + (year - 1969) / 4 - (year - 1901) / 100 + (year - 1601) / 400;
    for (int i = 0; i < month - 1; i++) days += LENGTHS[i] + (i == 1 && is_leap);
    days += day - 1;
    int64_t seconds = ((days * 24 + hour) * 60 + minute) * 60 + second;
    if (seconds == 0) return 0;
    *microseconds = seconds * 1000000 + fine;
    return 1;
}
