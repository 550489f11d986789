/**
 * The YAML file of `varve node`. Every key is known or refused, with its line; a mistake is never skipped, because a
 * setting that is silently ignored is found out in the worst moment.
 */
import { readFileSync } from 'node:fs';
import { isMap, isScalar, isSeq, LineCounter, type Node as YamlNode, type Pair, parseDocument } from 'yaml';
import { type ErrorCode, VarveError } from '../errors.js';
import { SETTINGS, type Setting, SettingError } from './settings.js';
import { didYouMean } from '../suggestion.js';

const SECTIONS = ['store'];

/** Keys of settings and their values. @throws VarveError INVALID_CONFIG with file and line */
export function readConfigFile(path: string): Map<string, unknown> {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    throw new VarveError('INVALID_CONFIG', `cannot read ${path}: ${(cause as Error).message}`, { cause });
  }
  return parseConfig(text, path);
}

export function parseConfig(text: string, path: string): Map<string, unknown> {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: true });
  const wrong: Wrong = (position, message, code = 'INVALID_CONFIG') => {
    const line = position === undefined ? '' : `:${lines.linePos(position).line}`;
    return new VarveError(code, `${path}${line}: ${message}`);
  };
  const [error] = document.errors;
  if (error !== undefined) throw wrong(error.pos[0], error.message);
  const values = new Map<string, unknown>();
  if (document.contents === null) return values;
  readMapping(document.contents as YamlNode, '', values, wrong);
  return values;
}

/** The error of a place in the file. */
type Wrong = (position: number | undefined, message: string, code?: ErrorCode) => VarveError;

function readMapping(node: YamlNode, section: string, values: Map<string, unknown>, wrong: Wrong): void {
  if (!isMap(node))
    throw wrong(node.range?.[0], `${section === '' ? 'the file' : section} must be a mapping of settings`);
  for (const pair of node.items as Pair<YamlNode, YamlNode | null>[]) {
    const at = pair.key.range?.[0];
    const name = isScalar(pair.key) ? String(pair.key.value) : undefined;
    if (name === undefined) throw wrong(at, 'a key must be plain text');
    const key = section === '' ? name : `${section}.${name}`;
    if (section === '' && SECTIONS.includes(name)) {
      if (pair.value !== null) readMapping(pair.value, name, values, wrong);
      continue;
    }
    const setting = SETTINGS.find((known) => known.key === key);
    if (setting === undefined) throw wrong(at, `there is no setting "${key}"${suggest(section, name)}`);
    values.set(key, readValue(setting, pair.value, at, wrong));
  }
}

function readValue(setting: Setting, node: YamlNode | null, keyAt: number | undefined, wrong: Wrong): unknown {
  if (setting.isList && isSeq<YamlNode>(node)) {
    return node.items.flatMap((item) => readOne(setting, [item.toJSON()], item, wrong));
  }
  const value = node?.toJSON() as unknown;
  if (value === undefined || value === null) throw wrong(keyAt, `${setting.key} has no value`);
  return readOne(setting, value, node, wrong);
}

function readOne(setting: Setting, value: unknown, node: YamlNode | null, wrong: Wrong): unknown {
  try {
    return setting.read(value);
  } catch (error) {
    if (error instanceof SettingError) {
      throw wrong(positionOf(node, error.key), `${setting.key}: ${error.message}`);
    }
    if (error instanceof VarveError) throw wrong(positionOf(node), error.message, error.code);
    throw error;
  }
}

/** Of a mapping's key, if it is one and has it; else of the whole. */
function positionOf(node: YamlNode | null, key?: string): number | undefined {
  const pair = isMap<YamlNode>(node)
    ? node.items.find((item) => isScalar(item.key) && item.key.value === key)
    : undefined;
  return (pair?.key ?? node)?.range?.[0];
}

function suggest(section: string, name: string): string {
  const prefix = section === '' ? '' : `${section}.`;
  const names = SETTINGS.filter((setting) => setting.key.startsWith(prefix))
    .map((setting) => setting.key.slice(prefix.length))
    .filter((key) => !key.includes('.'));
  return didYouMean(name, section === '' ? [...names, ...SECTIONS] : names);
}
