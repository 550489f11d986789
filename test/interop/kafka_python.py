"""
The other side of kafka-python.test.ts: reads and writes record batches with kafka-python, an independent implementation.

One JSON request per line on standard input, one JSON answer per line on standard output. Bytes are hex, null is null.

  {"op": "read", "bytes": hex}                      every batch of a segment, with its records
  {"op": "write", "codec": 0-4, "records": [...]}   one batch, base offset 0
"""
import json
import sys

from kafka.record.default_records import DefaultRecordBatchBuilder
from kafka.record.memory_records import MemoryRecords


def hexed(value):
    return None if value is None else bytes(value).hex()


def unhexed(value):
    return None if value is None else bytes.fromhex(value)


def read(request):
    batches = []
    segment = MemoryRecords(bytes.fromhex(request["bytes"]))
    while segment.has_next():
        batch = segment.next_batch()
        entry = {
            "baseOffset": batch.base_offset,
            "codec": batch.compression_type,
            "isControl": batch.is_control_batch,
            "maxTimestamp": batch.max_timestamp,
            # Before the records: it wants the bytes as they came.
            "crcValid": batch.validate_crc(),
        }
        entry["records"] = [
            {
                "offset": record.offset,
                "timestamp": record.timestamp,
                "key": hexed(record.key),
                "value": hexed(record.value),
                "headers": [[key.encode("utf-8").hex(), hexed(value)] for key, value in record.headers],
            }
            for record in batch
        ]
        batches.append(entry)
    # What is left over after the last whole batch.
    return {"batches": batches, "validBytes": segment.valid_bytes()}


def write(request):
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=request["codec"],
        is_transactional=False,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=1 << 30,
    )
    for offset, record in enumerate(request["records"]):
        headers = [(bytes.fromhex(key).decode("utf-8"), unhexed(value)) for key, value in record["headers"]]
        builder.append(offset, record["timestamp"], unhexed(record["key"]), unhexed(record["value"]), headers)
    return {"bytes": bytes(builder.build()).hex()}


for line in sys.stdin:
    request = json.loads(line)
    print(json.dumps({"read": read, "write": write}[request["op"]](request)))
