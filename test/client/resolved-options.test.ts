import { describe, expect, it } from 'vitest';
import type { ConsumerOptions, ProducerOptions } from '../../src/client/options.js';
import { resolveConsumerOptions, resolveProducerOptions } from '../../src/client/resolved-options.js';

const brokers = ['localhost:9000'];

describe('resolveProducerOptions', () => {
  it('fills in the documented defaults and freezes the result', () => {
    const options = resolveProducerOptions({ brokers: ['a:1', '[::1]:65535'] });
    expect(options).toEqual({
      brokers: [
        { host: 'a', port: 1 },
        { host: '::1', port: 65535 },
      ],
      clusterId: '',
      requestTimeoutMs: 30_000,
      acks: 'all',
      compression: 'none',
      lingerMs: 0,
      batchBytes: 256 * 1024,
      batchRecords: 1_000_000,
      maxInFlight: 5,
      bufferBytes: 32 * 1024 * 1024,
    });
    expect(Object.isFrozen(options)).toBe(true);
    expect(Object.isFrozen(options.brokers)).toBe(true);
  });

  it.each<[string, object]>([
    ['brokers', { brokers: [] }],
    ['brokers', { brokers: 'localhost:9000' }],
    ['brokers', { brokers: ['localhost'] }],
    ['brokers', { brokers: ['localhost:0'] }],
    ['brokers', { brokers: ['localhost:65536'] }],
    ['brokers', { brokers: ['a b:1'] }],
    ['clusterId', { brokers, clusterId: '' }],
    ['requestTimeoutMs', { brokers, requestTimeoutMs: 0 }],
    ['acks', { brokers, acks: 2 }],
    ['acks', { brokers, acks: '1' }],
    ['compression', { brokers, compression: 'brotli' }],
    ['lingerMs', { brokers, lingerMs: -1 }],
    ['lingerMs', { brokers, lingerMs: 1.5 }],
    ['batchBytes', { brokers, batchBytes: 5 * 1024 * 1024 }],
    ['batchRecords', { brokers, batchRecords: 0 }],
    ['maxInFlight', { brokers, maxInFlight: Number.NaN }],
    ['bufferBytes', { brokers, bufferBytes: 1024 }],
  ])('refuses a wrong %s with a message that names it: %j', (name, options) => {
    expect(() => resolveProducerOptions(options as ProducerOptions)).toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT', message: expect.stringContaining(name) }),
    );
  });

  it.each([
    [{ brokers, lingerMS: 5 }, 'no option "lingerMS"; did you mean "lingerMs"'],
    [{ brokers, minBytes: 5 }, 'no option "minBytes"'],
  ])('refuses an option that it does not know: %j', (options, message) => {
    expect(() => resolveProducerOptions(options as ProducerOptions)).toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT', message: expect.stringContaining(message) }),
    );
  });

  it('refuses options that are no object', () => {
    expect(() => resolveProducerOptions(undefined as unknown as ProducerOptions)).toThrow(/give an object/);
  });
});

describe('resolveConsumerOptions', () => {
  it.each(['', '.', '..', '../etc', 'a/b', 'a b', 'x'.repeat(201), 7])('refuses the topic name %j', (topic) => {
    const options = { brokers, topic, partition: 0 } as ConsumerOptions;
    expect(() => resolveConsumerOptions(options)).toThrow(expect.objectContaining({ code: 'INVALID_TOPIC' }));
  });

  it('refuses an option that it does not know', () => {
    const options = { brokers, topic: 't', partition: 0, form: 5 } as ConsumerOptions;
    expect(() => resolveConsumerOptions(options)).toThrow(/no option "form"; did you mean "from"/);
  });

  it.each([-1, 0.5, '0', undefined])('refuses the partition %j', (partition) => {
    const options = { brokers, topic: 't', partition } as ConsumerOptions;
    expect(() => resolveConsumerOptions(options)).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }));
  });

  it.each([-1, 2 ** 53, 'first'])('refuses to begin at %j', (from) => {
    const options = { brokers, topic: 't', partition: 0, from } as ConsumerOptions;
    expect(() => resolveConsumerOptions(options)).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }));
  });
});
