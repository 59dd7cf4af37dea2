// Figures as horizontal bars, shorter is better: an SVG with a light ground of its own, so that it
// can be read on a dark page as well.

const WIDTH = 860;
const MARGIN = 28;
const HEAD_HEIGHT = 72;
const BAR_HEIGHT = 22;
const BAR_STEP = 32;
const NAME_WIDTH = 72;
/** Behind the longest bar, for its figure. */
const VALUE_WIDTH = 74;
const COLOURS = { toril: '#c2410c', other: '#a8b0bb', text: '#1f2933', faint: '#5b6673' };

/** Groups of `{title, detail, unit, digits, bars: [{name, value}]}`, side by side. */
export function drawBars(groups) {
  const groupWidth = (WIDTH - 2 * MARGIN) / groups.length;
  const drawn = groups.map((group, index) =>
    drawGroup(group, MARGIN + index * groupWidth, groupWidth),
  );
  const rows = Math.max(...groups.map(({ bars }) => bars.length));
  const height = HEAD_HEIGHT + rows * BAR_STEP + MARGIN;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" \
font-family="system-ui, -apple-system, 'Segoe UI', sans-serif" font-size="13" role="img">
<title>${groups.map(describe).join('; ')}</title>
<rect width="${WIDTH}" height="${height}" rx="10" fill="#fbfaf8" stroke="#e3ded6"/>
${drawn.join('\n')}
<text x="${WIDTH - MARGIN}" y="${height - 10}" text-anchor="end" font-size="11" \
fill="${COLOURS.faint}">shorter is better</text>
</svg>
`;
}

function describe({ title, unit, digits, bars }) {
  const figures = bars.map(({ name, value }) => `${name} ${value.toFixed(digits)} ${unit}`);
  return `${title}: ${figures.join(', ')}`;
}

function drawGroup({ title, detail, unit, digits, bars }, left, groupWidth) {
  const longest = Math.max(...bars.map(({ value }) => value));
  const room = groupWidth - NAME_WIDTH - VALUE_WIDTH;
  const drawBar = ({ name, value }, row) => {
    const top = HEAD_HEIGHT + row * BAR_STEP;
    const width = Math.max(2, (value / longest) * room);
    const isToril = name === 'toril';
    const colour = isToril ? COLOURS.toril : COLOURS.other;
    const weight = isToril ? ' font-weight="700"' : '';
    const baseline = top + BAR_HEIGHT / 2 + 5;
    return `<g fill="${COLOURS.text}"${weight}>
<text x="${NAME_WIDTH - 8}" y="${baseline}" text-anchor="end">${name}</text>
<rect x="${NAME_WIDTH}" y="${top}" width="${width.toFixed(1)}" height="${BAR_HEIGHT}" \
rx="3" fill="${colour}"/>
<text x="${(NAME_WIDTH + width + 6).toFixed(1)}" y="${baseline}">\
${value.toFixed(digits)} ${unit}</text>
</g>`;
  };
  return `<g transform="translate(${left.toFixed(1)} 0)">
<text y="34" font-size="16" font-weight="600" fill="${COLOURS.text}">${title}</text>
<text y="54" font-size="12" fill="${COLOURS.faint}">${detail}</text>
${bars.map(drawBar).join('\n')}
</g>`;
}
