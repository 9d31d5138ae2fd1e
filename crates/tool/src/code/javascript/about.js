// Prints the version of Node and the packages that code can load.
(() => {
  const { readdirSync, readFileSync } = require('fs');
  const places = ['/node_modules', '/usr/local/lib/node_modules', '/usr/lib/node_modules', '/usr/share/nodejs'];
  // They install packages, and there is nothing to install from.
  const leftOut = new Set(['npm', 'corepack']);

  const entries = (place) => {
    try {
      return readdirSync(place).filter((name) => !name.startsWith('.'));
    } catch {
      return [];
    }
  };

  const found = new Map();
  for (const place of places) {
    const folders = entries(place).flatMap((name) =>
      name.startsWith('@') ? entries(`${place}/${name}`).map((inner) => `${name}/${inner}`) : [name],
    );
    for (const folder of folders) {
      try {
        const { name, version } = JSON.parse(readFileSync(`${place}/${folder}/package.json`, 'utf8'));
        const isWhole = typeof name === 'string' && typeof version === 'string';
        // The first place that has a package is where it is loaded from.
        if (isWhole && !leftOut.has(name) && !found.has(name)) found.set(name, { name, version });
      } catch {
        // A folder without a description is no package.
      }
    }
  }
  const packages = [...found.values()].sort((one, other) => (one.name < other.name ? -1 : 1));
  console.log(JSON.stringify({ version: process.versions.node, packages }));
})();
