import { expect, test } from 'vitest';
import { SharedCalls } from '../../src/disk/shared-calls.js';

/** Calls that end when the test says so. */
function scripted() {
  const open: { readonly name: string; readonly end: (error?: Error) => void }[] = [];
  const begun: string[] = [];
  const calls = new SharedCalls((name) => {
    begun.push(name);
    return new Promise<void>((resolve, reject) => {
      open.push({ name, end: (error) => (error === undefined ? resolve() : reject(error)) });
    });
  });
  return { calls, begun, end: (error?: Error) => open.shift()!.end(error) };
}

test('whoever asks while a call is under way shares the next one, not that one', async () => {
  const { calls, begun, end } = scripted();
  const settled: string[] = [];
  const ask = (who: string) => calls.run('a').then(() => settled.push(who));
  const first = ask('first');
  const others = [ask('second'), ask('third')];
  expect(begun).toEqual(['a']);
  end();
  await first;
  expect(settled).toEqual(['first']);
  await Promise.resolve();
  expect(begun).toEqual(['a', 'a']);
  end();
  await Promise.all(others);
  expect(settled).toEqual(['first', 'second', 'third']);
});

test('different things do not wait for one another', () => {
  const { calls, begun } = scripted();
  void calls.run('a');
  void calls.run('b');
  expect(begun).toEqual(['a', 'b']);
});

test('a call that fails fails for those who share it, and the next one is made all the same', async () => {
  const { calls, begun, end } = scripted();
  const first = calls.run('a');
  const second = calls.run('a');
  end(new Error('no'));
  await expect(first).rejects.toThrow('no');
  await Promise.resolve();
  expect(begun).toEqual(['a', 'a']);
  end();
  await second;
});
