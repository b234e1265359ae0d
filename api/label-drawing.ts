import { toBuffer, toSVG } from 'bwip-js/node';
import { isSquare, LABEL_MM, type Label, type Symbology } from '../domain/label.ts';

/** Names of bwip-js. */
const ENCODER: Record<Symbology, string> = {
  code128: 'code128',
  datamatrix: 'datamatrix',
  qr: 'qrcode',
  gs1_128: 'gs1-128',
  gs1_datamatrix: 'gs1datamatrix',
};
/** Modules of blank around a symbol, which readers need. */
const QUIET = 10;

/** A label with the symbol of its content. */
export interface DrawnLabel extends Label {
  /** the barcode, or a GS1 element string */
  readonly content: string;
}

function options(symbology: Symbology, content: string) {
  return {
    bcid: ENCODER[symbology],
    text: content,
    ...(isSquare(symbology) ? {} : { height: 10 }),
    paddingwidth: QUIET,
    paddingheight: QUIET,
    backgroundcolor: 'FFFFFF',
  };
}

/** The symbol of a label with its barcode below, as PNG. */
export function pngLabel(label: DrawnLabel, symbology: Symbology): Promise<Buffer> {
  const words = { includetext: true, alttext: label.barcode, textxalign: 'center' as const };
  return toBuffer({ ...options(symbology, label.content), ...words, scale: 4 });
}

/** Labels one below the other in columns, each of its real size, as one SVG. */
export function svgLabels(labels: readonly DrawnLabel[], symbology: Symbology, columns = 1): string {
  const { width, height } = LABEL_MM;
  const [across, down] = [Math.min(columns, labels.length), Math.ceil(labels.length / columns)];
  const drawn = labels.map((label, index) => {
    const [x, y] = [(index % columns) * width, Math.floor(index / columns) * height];
    return `<g transform="translate(${x} ${y})">${svgLabel(label, symbology)}</g>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${across * width}mm" height="${down * height}mm" viewBox="0 0 ${
    across * width
  } ${down * height}"><rect width="100%" height="100%" fill="#fff"/>${drawn.join('')}</svg>`;
}

function svgLabel(label: DrawnLabel, symbology: Symbology): string {
  const square = isSquare(symbology);
  const place = square
    ? 'x="1" y="2" width="21" height="21"'
    : `x="0.5" y="0.5" width="${LABEL_MM.width - 1}" height="14" preserveAspectRatio="none"`;
  const symbol = toSVG({ ...options(symbology, label.content), scale: 1 }).replace('<svg ', `<svg ${place} `);
  const [x, top, step] = square ? [23, 6, 4] : [2, 17, 3.2];
  const text = label.lines.map(
    (line, index) =>
      `<text x="${x}" y="${top + index * step}" font-family="sans-serif" font-size="2.6">${escaped(line.slice(0, 40))}</text>`,
  );
  return symbol + text.join('');
}

function escaped(text: string): string {
  const names: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;' };
  return text.replaceAll(/[&<>]/g, (char) => names[char] ?? char).replaceAll(/\p{Cc}/gu, ' ');
}
