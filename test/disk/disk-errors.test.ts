import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { diskError } from '../../src/disk/disk-errors.js';

const systemError = (code: string, syscall: string, message: string): Error =>
  Object.assign(new Error(message), { code, syscall });

test('what the system said stands in the message once', async () => {
  const path = join(tmpdir(), 'varve, nowhere', 'file');
  const error = await open(path).catch((reason: unknown) => diskError(reason, path));
  expect(error).toMatchObject({
    code: 'DISK_FAILED',
    message: `open of ${path} failed: ENOENT: no such file or directory`,
  });
});

test.each<[string, string, string, RegExp]>([
  ['EACCES', 'open', 'DISK_FAILED', /EACCES: permission denied; the user that runs this must be allowed/],
  ['ENOSPC', 'mkdir', 'DISK_FULL', /ENOSPC: permission denied; nothing was changed, free some space/],
  ['ENOSPC', 'write', 'DISK_FAILED', /write of \/d failed: ENOSPC: permission denied$/],
])('%s of %s is %s and says what to do', (code, syscall, expected, message) => {
  const error = diskError(systemError(code, syscall, `${code}: permission denied, ${syscall} '/d'`), '/d');
  expect(error).toMatchObject({ code: expected, message: expect.stringMatching(message) });
});

test('an error that names no call is told as it is', () => {
  expect(diskError(new Error('odd, very'), '/d').message).toBe('operation of /d failed: unknown error: odd, very');
});
