import { expect, test } from 'vitest';
import { changedText, optionsIn, optionsText } from './device-options.js';

test('a device without wishes has no text', () => {
  expect(optionsText({})).toBe('');
  expect(optionsText({ backup: undefined, weight: undefined })).toBe('');
});

test('what was written is read', () => {
  const options = { backup: '/b', bytesPerS: 2 ** 21, requestsPerS: 100, weight: 3 };
  expect(optionsIn(optionsText(options))).toEqual(options);
});

test('what is not named, and what nobody here knows, stays', () => {
  const text = changedText('{"later":[1],"backup":"/b","weight":2}', { weight: 5 }) ?? '';
  expect(JSON.parse(text)).toEqual({ later: [1], backup: '/b', weight: 5 });
  const none = changedText(text, { weight: undefined }) ?? '';
  expect(JSON.parse(none)).toEqual({ later: [1], backup: '/b' });
  expect(changedText('{"weight":2}', { weight: undefined })).toBe('');
});

test.each(['nonsense', '[]', '7', 'null'])('%s is left alone', (text) => {
  expect(changedText(text, { weight: 2 })).toBeUndefined();
  expect(optionsIn(text)).toEqual({});
});

test('values that mean nothing count as none', () => {
  const text = '{"bytesPerS":0,"requestsPerS":"9","weight":1000,"backup":7}';
  expect(optionsIn(text)).toEqual({});
});
