import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { Resvg } from '@resvg/resvg-js';
import { prepareZXingModule, readBarcodes } from 'zxing-wasm/reader';

// From the package on disk: the reader would fetch it from a network otherwise.
const WASM = createRequire(import.meta.url).resolve('zxing-wasm/reader/zxing_reader.wasm');
prepareZXingModule({ overrides: { wasmBinary: new Uint8Array(readFileSync(WASM)).buffer } });

/** What a reader makes of a picture: `FORMAT TEXT` of each symbol in it. */
export async function readPicture(png: Uint8Array): Promise<string[]> {
  const found = await readBarcodes(png, { maxNumberOfSymbols: 255 });
  return found.map(({ format, text }) => `${format} ${text}`);
}

/** The same of an SVG, drawn with so many pixels a mm. */
export function readSvg(svg: string, pixelsPerMm = 20): Promise<string[]> {
  const width = Number(/^<svg [^>]*width="([\d.]+)mm"/.exec(svg)?.[1]);
  const drawn = new Resvg(svg, { fitTo: { mode: 'width', value: width * pixelsPerMm } }).render();
  return readPicture(drawn.asPng());
}

/** What a ZPL printer would put into each symbol, by the commands’ rules: `COMMAND DATA`. */
export function readZpl(zpl: string): string[] {
  return [...zpl.matchAll(/\^(BC|BX|BQ)([^^]*)\^FH\\\^FD(.*?)\^FS/g)].map(
    ([, command, parameters = '', raw = '']) => {
      const data = raw.replaceAll(/\\([0-9A-F]{2})/g, (_, hex: string) =>
        String.fromCharCode(Number.parseInt(hex, 16)),
      );
      switch (command) {
        case 'BC':
          // Mode D takes parentheses out; otherwise `>:` begins subset B and `>0` is `>`.
          return parameters.endsWith('D')
            ? `BC GS1 ${data.replaceAll(/[()]/g, '')}`
            : `BC ${data.replace(/^>:/, '').replaceAll('>0', '>')}`;
        case 'BX': {
          const fnc1 = `${parameters.at(-1)}1`;
          return data.startsWith(fnc1) ? `BX GS1 ${data.slice(fnc1.length)}` : `BX ${data}`;
        }
        default:
          return `BQ ${data.replace(/^[HQML]A,/, '')}`;
      }
    },
  );
}
