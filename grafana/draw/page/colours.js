// Colours by the names that dashboards use.

const LEVELS = ["super-light", "light", "", "semi-dark", "dark"];
const HUES = {
  red: ["#FFA6B0", "#FF7383", "#F2495C", "#E02F44", "#C4162A"],
  orange: ["#FFCB7D", "#FFB357", "#FF9830", "#FF780A", "#FA6400"],
  yellow: ["#FFF899", "#FFEE52", "#FADE2A", "#F2CC0C", "#E0B400"],
  green: ["#C8F2C2", "#96D98D", "#73BF69", "#56A64B", "#37872D"],
  blue: ["#C0D8FF", "#8AB8FF", "#5794F2", "#3274D9", "#1F60C4"],
  purple: ["#DEB6F2", "#CA95E5", "#B877D9", "#A352CC", "#8F3BB8"],
};

const NAMED = { text: "#ccccdc", transparent: "rgba(0,0,0,0)", gray: "#808080" };
for (const [hue, shades] of Object.entries(HUES)) {
  shades.forEach((shade, level) => (NAMED[[LEVELS[level], hue].filter(Boolean).join("-")] = shade));
}

// The classic palette, in the order in which lines get it.
const CLASSIC = [
  ...["green", "semi-dark-yellow", "light-blue", "semi-dark-orange", "red", "blue", "purple", "#705DA0"],
  ...["dark-green", "yellow", "#447EBC", "#C15C17", "#890F02", "#0A437C", "#6D1F62", "#584477"],
];

export const colour = (name) => NAMED[name] ?? name;
export const classic = (number) => colour(CLASSIC[number % CLASSIC.length]);

/** The same colour, so much of it showing: 0 to 1. */
export function faded(name, share) {
  const canvas = document.createElement("canvas").getContext("2d");
  canvas.fillStyle = colour(name);
  const hex = canvas.fillStyle; // #rrggbb, or rgba(...) if it was faded before
  return hex.startsWith("#") ? hex + Math.round(share * 255).toString(16).padStart(2, "0") : hex;
}

/** The colour of the last threshold that a value has reached. */
export function threshold(thresholds, value) {
  const steps = thresholds?.steps ?? [{ value: null, color: "green" }];
  let reached = steps[0];
  for (const step of steps) if (step.value === null || value >= step.value) reached = step;
  return colour(reached.color);
}

const OCHRE = [[59, 18, 2], [127, 39, 4], [217, 72, 1], [253, 141, 60], [253, 208, 162], [255, 245, 235]];

/** A heatmap's colour from dark to light. share: 0 to 1. */
export function heat(share) {
  const at = Math.min(share, 1) * (OCHRE.length - 1);
  const low = Math.min(Math.floor(at), OCHRE.length - 2);
  const mixed = OCHRE[low].map((from, n) => Math.round(from + (OCHRE[low + 1][n] - from) * (at - low)));
  return `rgb(${mixed.join(",")})`;
}
