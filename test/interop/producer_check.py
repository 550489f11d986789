"""
The other side of producer-files.test.ts: reads producer snapshots and indexes of aborted transactions as Kafka lays them
out, and derives from the segment what they should say. It shares no code with the project.

One JSON object on standard input, as hex: log (all segments, one after the other), snapshot, txnindex.
Prints what the snapshot and the index say, and a list of faults (empty when all is well).
"""
import json
import struct
import sys

SEQUENCES = 1 << 31


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def varint(data, at):
    result = shift = 0
    while True:
        byte = data[at]
        at += 1
        result |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return (result >> 1) ^ -(result & 1), at
        shift += 7


def marker_type(record_section):
    _, at = varint(record_section, 0)
    at += 1
    _, at = varint(record_section, at)
    _, at = varint(record_section, at)
    _, at = varint(record_section, at)
    return struct.unpack_from(">hh", record_section, at)[1]


request = json.load(sys.stdin)
log, snapshot, txnindex = (bytes.fromhex(request[name]) for name in ("log", "snapshot", "txnindex"))
faults = []

producers, aborted = {}, []
position = 0
while position < len(log):
    base, length, _, _, _, attributes, last_delta, _, max_time, producer, epoch, sequence, _ = struct.unpack_from(
        ">qiibIhiqqqhii", log, position
    )
    if producer >= 0:
        known = producers.setdefault(producer, dict(open=-1, coordinator=-1, last=(-1, -1, 0)))
        known["epoch"], known["time"] = epoch, max_time
        if attributes & 0x20:
            if known["open"] >= 0 and marker_type(log[position + 61 : position + 12 + length]) == 0:
                others = [each["open"] for each in producers.values() if each is not known and each["open"] >= 0]
                aborted.append([0, producer, known["open"], base, min(others + [base + 1])])
            known["open"] = -1
            known["coordinator"] = struct.unpack_from(">i", log, position + 12 + length - 5)[0]
        else:
            known["last"] = ((sequence + last_delta) % SEQUENCES, base + last_delta, last_delta)
            if attributes & 0x10 and known["open"] < 0:
                known["open"] = base
    position += 12 + length

expected = [
    [producer, each["epoch"], *each["last"], each["time"], each["coordinator"], each["open"]]
    for producer, each in sorted(producers.items())
]
version, crc, count = struct.unpack_from(">hIi", snapshot, 0)
if version != 1:
    faults.append("snapshot: version %d" % version)
if crc != crc32c(snapshot[6:]):
    faults.append("snapshot: its CRC32C does not match")
entry = struct.Struct(">qhiqiqiq")
entries = [list(entry.unpack_from(snapshot, 10 + i * entry.size)) for i in range(count)]
if entries != expected:
    faults.append("snapshot: %r, the log says %r" % (entries, expected))

transaction = struct.Struct(">hqqqq")
if len(txnindex) % transaction.size:
    faults.append("txnindex: %d bytes" % len(txnindex))
transactions = [list(transaction.unpack_from(txnindex, at)) for at in range(0, len(txnindex) - 33, transaction.size)]
if transactions != aborted:
    faults.append("txnindex: %r, the log says %r" % (transactions, aborted))

print(json.dumps({"producers": entries, "transactions": transactions, "faults": faults}))
