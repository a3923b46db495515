/* CRC32 as zlib has it, eight bytes at a time. */
#include "core.h"

static uint32_t crc_tables[8][256];

void fill_crc_tables(void) {
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t sum = i;
        for (int bit = 0; bit < 8; bit++) sum = sum & 1 ? 0xEDB88320U ^ (sum >> 1) : sum >> 1;
        crc_tables[0][i] = sum;
    }
    for (int table = 1; table < 8; table++)
        for (int i = 0; i < 256; i++) {
            uint32_t last = crc_tables[table - 1][i];
            crc_tables[table][i] = crc_tables[0][last & 0xFF] ^ (last >> 8);
        }
}

uint32_t add_crc(const unsigned char *data, Py_ssize_t size) {
    uint32_t sum = 0xFFFFFFFFU;
    for (; size >= 8; size -= 8, data += 8) {
        uint32_t low = sum ^ ((uint32_t)data[0] | (uint32_t)data[1] << 8 | (uint32_t)data[2] << 16 | (uint32_t)data[3] << 24);
        sum = crc_tables[7][low & 0xFF] ^ crc_tables[6][low >> 8 & 0xFF] ^ crc_tables[5][low >> 16 & 0xFF] ^ crc_tables[4][low >> 24] ^
              crc_tables[3][data[4]] ^ crc_tables[2][data[5]] ^ crc_tables[1][data[6]] ^ crc_tables[0][data[7]];
    }
    for (; size > 0; size--, data++) sum = crc_tables[0][(sum ^ *data) & 0xFF] ^ (sum >> 8);
    return sum ^ 0xFFFFFFFFU;
}
