/**
 * Bugs planted in the store, one at a time, and the test that must find each (scripts/mutants.mjs runs them). Each is a
 * mistake somebody could make: an order changed, a sync forgotten, a check left out.
 */

/** A test by its files, its name (a pattern) and its environment. */
const images = (operation, count = 60) => ({
  files: ['test/images/images.test.ts'],
  env: { IMAGES: String(count), IMAGES_OPERATION: operation },
});

/**
 * Each change is [text, what it becomes]; the text must occur exactly once in `file`.
 * @type {readonly { name: string, says: string, file: string, changes: readonly [string, string][], killer: { files: string[], test?: string, env?: object } }[]}
 */
export const storeMutants = [
  {
    name: 'acknowledged-before-sync',
    says: 'the journal reports its groups durable without syncing them',
    file: 'native/src/journal.cc',
    changes: [
      [
        `  const auto began = Clock::now();
  if (const int error = sync_data(file_.file); error != 0)`,
        `  const auto began = Clock::now();
  if (const int error = 0; error != 0)`,
      ],
    ],
    killer: images('append'),
  },
  {
    name: 'file-end-overtakes',
    says: 'a journal file says that the next one is on disk before it is',
    file: 'native/src/journal.cc',
    changes: [
      ['  if (left_) {\n    if (auto failure = end_left_file()) return failure;\n  }\n', ''],
      [
        '  left_ = {std::move(file_), file_position_, end};',
        '  left_ = {std::move(file_), file_position_, end};\n  lsn_ += kJournalBlockBytes;\n  auto early = end_left_file();\n  lsn_ -= kJournalBlockBytes;\n  if (early) return early;',
      ],
    ],
    killer: images('journal', 150),
  },
  {
    name: 'file-end-missing',
    says: 'a journal file does not say at its end that the journal went on in the next one',
    file: 'native/src/journal.cc',
    changes: [['  if (left_) {\n    if (auto failure = end_left_file()) return failure;\n  }\n', '']],
    killer: { files: ['test/issues/lost-journal-file.test.ts'] },
  },
  {
    name: 'vote-not-synced',
    says: 'term and vote are told to be saved before they are on disk',
    file: 'src/log/partition-log.ts',
    changes: [
      [
        `    this.#journal.submit(RecordType.HardState, encodeHardState(state), (error) => {
      if (error === undefined) done();
    });`,
        `    this.#journal.submit(RecordType.HardState, encodeHardState(state), () => {});
    queueMicrotask(done);`,
      ],
    ],
    killer: images('vote'),
  },
  {
    name: 'segments-not-synced',
    says: 'a checkpoint calls bytes durable whose segment was not synced',
    file: 'src/log/segment-writeback.ts',
    changes: [['for (const segment of work.dirty) if (!segment.isClosed) await segment.file.sync();', '']],
    killer: images('checkpoint'),
  },
  {
    name: 'journal-recycled-early',
    says: 'journal files are given back before the checkpoint that covers them is on disk',
    file: 'src/log/checkpointer.ts',
    changes: [
      [
        `      await journal.flush();
      // All that was captured`,
        `      await journal.flush();
      for (; this.#journalFile < journalFile; this.#journalFile++) journal.recycle(this.#journalFile);
      // All that was captured`,
      ],
    ],
    killer: images('journal', 150),
  },
  {
    name: 'tail-not-rewritten',
    says: 'recovery keeps a tail on the word of the page cache, without writing and syncing it',
    file: 'src/log/log-recovery.ts',
    changes: [
      [
        `      await this.#disk.writeFile(path, position, bytes);
`,
        '',
      ],
    ],
    killer: {
      files: ['test/images/calls.test.ts'],
      env: { CALLS_WORKLOAD: 'direct-flush', CALLS_ERROR: 'EIO', CALLS_STRIDE: '3' },
    },
  },
  {
    name: 'torn-tail-left-in-the-file',
    says: 'what recovery cuts off stays in the file behind the log',
    file: 'src/log/log-recovery.ts',
    changes: [['if (size !== undefined && size > length) await this.#disk.truncateFile(path, length);', '']],
    killer: { files: ['test/issues/torn-tail-is-cut-off-the-file.test.ts'] },
  },
  {
    name: 'completion-of-an-older-generation',
    says: 'a completion is matched by its offset alone: bytes that were cut off make their successors durable',
    file: 'src/log/log-cursors.ts',
    changes: [
      [
        'if (generation !== this.#generation || end <= this.#durable) return false;',
        'if (end > this.#end || end <= this.#durable) return false;',
      ],
    ],
    killer: images('truncate', 200),
  },
  {
    name: 'stale-group-accepted',
    says: 'a group of an older life of a recycled journal file is read as the next one',
    file: 'src/disk/journal-reader.ts',
    changes: [
      ['if (header?.fileNumber !== fileNumber) return undefined;', 'if (header === undefined) return undefined;'],
      ['if (found === undefined || found.header.lsn !== lsn) {', 'if (found === undefined) {'],
    ],
    killer: { files: ['test/disk/journal-reader.test.ts'] },
  },
  {
    name: 'corruption-truncated',
    says: 'a fault below the durable mark is taken for a torn write, and the log ends there',
    file: 'src/log/log-recovery.ts',
    changes: [
      [
        '    const length = isLast ? (fold.durable?.position ?? 0) : segment.length;',
        '    const length = isLast ? 0 : segment.length;',
      ],
    ],
    killer: { files: ['test/log/recovery.test.ts'] },
  },
  {
    name: 'epochs-kept-at-truncation',
    says: 'the leader-epoch index keeps the epochs of what was cut off',
    file: 'src/log/log-cursors.ts',
    changes: [['    this.epochs.truncateTo(cut);\n', '']],
    killer: { files: ['test/log/log-model.test.ts', 'test/log/append.test.ts', 'test/log/recovery.test.ts'] },
  },
  {
    name: 'renamed-without-directory-sync',
    says: 'files are replaced by rename, and the directory is not synced',
    file: 'src/disk/native-disk.ts',
    changes: [
      [
        '      await this.#files.rename(temporary, target);\n    } catch (error) {\n      throw diskError(error, target);\n    }\n    await this.#syncDirectories([dirname(target)]);',
        '      await this.#files.rename(temporary, target);\n    } catch (error) {\n      throw diskError(error, target);\n    }',
      ],
    ],
    killer: images('checkpoint', 150),
  },
  {
    name: 'failed-sync-tried-again',
    says: 'a sync that failed is tried once more, and its success believed',
    file: 'native/src/posix_file.cc',
    changes: [
      [
        'file.trace()->sync(file.number(), file.get(), true) : ::fdatasync(file.get());',
        '(file.trace()->sync(file.number(), file.get(), true) == 0 ? 0 : file.trace()->sync(file.number(), file.get(), true)) : ::fdatasync(file.get());',
      ],
    ],
    killer: { files: ['test/log/latch.test.ts'] },
  },
  {
    name: 'direct-flush-not-synced',
    says: 'a direct flush reports its batches durable without syncing their segments',
    file: 'native/src/journal.cc',
    changes: [['if ((failure = ranges[i].segment->sync_now())) return failure;', '']],
    killer: images('direct-flush', 100),
  },
  {
    name: 'direct-flush-overtakes',
    says: 'what precedes a direct flush in the stream is not made durable before it',
    file: 'native/src/journal.cc',
    changes: [
      [
        '  if (durable_lsn_ < lsn_) {\n    if (auto failure = sync()) return failure;\n  }\n  const auto records',
        '  const auto records',
      ],
    ],
    killer: { files: ['test/log/direct-flush.test.ts'] },
  },
  {
    name: 'dedupe-remembers-what-was-cut-off',
    says: 'producer state keeps batches that a truncation cut off, and answers their retries as duplicates',
    file: 'src/log/log-cut.ts',
    changes: [['    producers.truncate(cut);\n', '']],
    killer: { files: ['test/log/producers.test.ts'] },
  },
  {
    name: 'swap-not-replayed',
    says: 'replay forgets that compaction replaced segments',
    file: 'src/journal/replay.ts',
    changes: [
      [
        '    if (first < 0) return;\n    const base = replaced[0]!.base;',
        '    if (first >= 0) return;\n    const base = replaced[0]!.base;',
      ],
    ],
    killer: { files: ['test/log/compaction-crash.test.ts'] },
  },
  {
    name: 'seal-without-headers',
    says: 'the seal of a segment does not cover the headers of its batches',
    file: 'src/segment/seal.ts',
    changes: [['    this.#checksum = crc32c(bytes, headerAt, headerAt + BATCH_HEADER_BYTES, this.#checksum);', '']],
    killer: { files: ['test/log/verify.test.ts', 'test/segment/seal.test.ts'] },
  },
];
