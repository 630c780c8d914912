// Numbers as a reader wants them: with their unit, as many digits as say something.

const scaled = (steps, names) => (value) => {
  let number = value;
  let name = 0;
  while (name < steps.length && Math.abs(number) >= steps[name]) number /= steps[name++];
  return [number, names[name]];
};
const thousands = (base, unit) => scaled(Array(4).fill(1000), base.map((prefix) => prefix + unit));
const binary = scaled(Array(5).fill(1024), [" B", " KiB", " MiB", " GiB", " TiB", " PiB"]);
const LATIN = [" ", " k", " M", " G", " T"];

function seconds(value) {
  const size = Math.abs(value);
  if (size === 0 || (size >= 1 && size < 60)) return [value, " s"];
  if (size < 1e-3) return [value * 1e6, " µs"];
  if (size < 1) return [value * 1e3, " ms"];
  if (size < 3600) return [value / 60, " min"];
  if (size < 86_400) return [value / 3600, size < 7200 ? " hour" : " hours"];
  return [value / 86_400, size < 172_800 ? " day" : " days"];
}

const ROUND = ["", " K", " Mil", " Bil", " Tri"];
const UNITS = {
  none: (value) => [value, ""],
  short: scaled(Array(4).fill(1000), ROUND),
  locale: (value) => [value, ""],
  percent: (value) => [value, "%"],
  percentunit: (value) => [value * 100, "%"],
  s: seconds,
  ms: (value) => seconds(value / 1000),
  bytes: binary,
  decbytes: thousands(LATIN, "B"),
  Bps: thousands(LATIN, "B/s"),
  binBps: (value) => binary(value).map((part, n) => (n ? `${part}/s` : part)),
};
const MOMENTS = {
  dateTimeAsIso: (at) => at.toISOString().slice(0, 19).replace("T", " "),
  dateTimeFromNow: (at) => {
    const ahead = at - Date.now();
    const text = format(Math.abs(ahead) / 1000, { unit: "s", decimals: 0 });
    return ahead > 0 ? `in ${text}` : `${text} ago`;
  },
};

/** How many digits after the point make three in all. */
function digits(value) {
  return Number.isInteger(value) ? 0 : Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
}

/** A value with its unit. config: unit and decimals, as a panel's field has them. */
export function format(value, config = {}) {
  if (value === null || Number.isNaN(value)) return "-";
  if (!Number.isFinite(value)) return value > 0 ? "+Inf" : "-Inf";
  const unit = config.unit ?? "short";
  if (unit in MOMENTS) return MOMENTS[unit](new Date(value));
  const [number, ending] = (UNITS[unit] ?? ((same) => [same, ` ${unit.replace(/^suffix:/, "")}`]))(value);
  const places = config.decimals ?? Math.min(digits(number), 6);
  const text = number.toFixed(places).replace(/^-(0(\.0+)?)$/, "$1");
  return (unit === "locale" ? text.replace(/\B(?=(\d{3})+(?!\d))/g, ",") : text) + ending;
}

/** The words and colour that a mapping has for a value, or nothing. */
export function mapped(value, mappings = []) {
  for (const { type, options } of mappings) {
    if (type === "value" && String(value) in options) return options[String(value)];
    if (type === "range" && value !== null) {
      if (value >= (options.from ?? -Infinity) && value <= (options.to ?? Infinity)) return options.result;
    }
    if (type === "special" && (value === null || Number.isNaN(value))) {
      if (["null", "nan", "null+nan"].includes(options.match)) return options.result;
    }
    if (type === "regex" && typeof value === "string") {
      if (new RegExp(options.pattern.replace(/^\/|\/$/g, "")).test(value)) return options.result;
    }
  }
  return undefined;
}

/** A value as a panel shows it: mapped, or a word, or a number with its unit. */
export function shown(value, config) {
  const text = mapped(value, config.mappings)?.text;
  return text ?? (typeof value === "string" ? value : format(value, config));
}

export const clock = (at) => new Date(at * 1000).toISOString().slice(11, 19);
