import { describe, expect, it } from 'vitest';
import { parseArguments } from '../../stack/arguments.ts';

describe('the arguments of npm start', () => {
  it('need not be', () => {
    expect(parseArguments([])).toEqual({ port: null, reset: false, help: false });
  });

  it.each([[['--port', '9999']], [['--port=9999']]])('take a port: %j', (args) => {
    expect(parseArguments([...args, '--reset'])).toEqual({ port: 9999, reset: true, help: false });
  });

  it.each([
    [['--prot', '9999'], "npm start does not know '--prot'."],
    [['9999'], "npm start does not know '9999'."],
    [['--port'], '--port needs a number from 1 to 65535, not nothing.'],
    [['--port', 'http'], "--port needs a number from 1 to 65535, not 'http'."],
    [['--port', '70000'], "--port needs a number from 1 to 65535, not '70000'."],
  ])('are refused with a sentence: %j', (args, sentence) => {
    expect(() => parseArguments(args)).toThrow(sentence);
  });
});
