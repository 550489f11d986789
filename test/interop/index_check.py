"""
The other side of index-files.test.ts: checks index files against the segment they belong to. It shares no code with the
project, and knows the formats from their description only.

One JSON object on standard input: baseOffset, indexIntervalBytes, and as hex: log, index, timeindex, epochs.
Prints the decoded entries and a list of faults (empty when all is well).
"""
import json
import struct
import sys

request = json.load(sys.stdin)
base_offset = request["baseOffset"]
log, index, timeindex, epochs = (bytes.fromhex(request[name]) for name in ("log", "index", "timeindex", "epochs"))
faults = []

batches = []
position = 0
while position < len(log):
    offset, length, epoch = struct.unpack_from(">qii", log, position)
    last_delta, _, max_timestamp = struct.unpack_from(">iqq", log, position + 23)
    batches.append(dict(position=position, base=offset, last=offset + last_delta, epoch=epoch, time=max_timestamp))
    position += 12 + length
by_position = {batch["position"]: batch for batch in batches}

offset_entries = [struct.unpack_from(">II", index, at) for at in range(0, len(index), 8)]
last_position = 0
for relative_offset, position in offset_entries:
    batch = by_position.get(position)
    if batch is None or batch["base"] != base_offset + relative_offset:
        faults.append("offset index: no batch with offset %d begins at %d" % (base_offset + relative_offset, position))
    if position - last_position < request["indexIntervalBytes"]:
        faults.append("offset index: entries at %d and %d are too close" % (last_position, position))
    last_position = position

time_entries = [struct.unpack_from(">qI", timeindex, at) for at in range(0, len(timeindex), 12)]
for timestamp, relative_offset in time_entries:
    up_to = [batch for batch in batches if batch["last"] <= base_offset + relative_offset]
    if not up_to or up_to[-1]["last"] != base_offset + relative_offset:
        faults.append("time index: no batch ends at %d" % (base_offset + relative_offset))
    elif max(batch["time"] for batch in up_to) != timestamp:
        faults.append("time index: up to %d the largest time is not %d" % (base_offset + relative_offset, timestamp))
for (earlier, _), (later, _) in zip(time_entries, time_entries[1:]):
    if later <= earlier:
        faults.append("time index: %d after %d" % (later, earlier))
if batches and time_entries and time_entries[-1][0] != max(batch["time"] for batch in batches):
    faults.append("time index: the largest time of the segment is missing")

lines = epochs.decode("ascii").splitlines()
epoch_entries = [tuple(map(int, line.split(" "))) for line in lines[2:]]
if lines[0] != "0" or int(lines[1]) != len(epoch_entries):
    faults.append("epochs: version %s, count %s" % (lines[0], lines[1]))
expected = []
for batch in batches:
    if not expected or expected[-1][0] != batch["epoch"]:
        expected.append((batch["epoch"], batch["base"]))
if expected != epoch_entries:
    faults.append("epochs: %r, the segment says %r" % (epoch_entries, expected))

print(json.dumps({"batches": len(batches), "offsets": offset_entries, "times": time_entries, "faults": faults}))
