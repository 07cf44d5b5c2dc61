// Reads a lake as hyparquet, the reader of browsers and Node, sees it. Prints one JSON object, as matrix.py does.
//
//   npm install hyparquet hyparquet-compressors && node hyparquet.mjs LAKE
//
// hyparquet gives decimals as floating-point numbers, so sums are said to be floats.

import { readdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join, resolve } from 'node:path'

// Packages are those of the folder in which node was started.
const require = createRequire(join(process.cwd(), 'package.json'))
const load = async name => import(require.resolve(name))
const { parquetReadObjects } = await load('hyparquet')
const { compressors } = await load('hyparquet-compressors')

const lake = resolve(process.argv[2])
const said = { reader: 'hyparquet', version: JSON.parse(readFileSync(join(process.cwd(), 'node_modules/hyparquet/package.json'))).version }
for (const [table, modified] of [['purchase_apply', 'modified'], ['purchase_apply_detail', 'apply_modified']]) {
  const files = readdirSync(join(lake, table), { recursive: true }).filter(name => name.endsWith('.parquet'))
  let rows = 0
  let sum = 0
  const times = []
  const types = {}
  for (const name of files) {
    const bytes = readFileSync(join(lake, table, name))
    const file = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length)
    for (const row of await parquetReadObjects({ file, compressors })) {
      rows += 1
      sum += row.real_num ?? 0
      times.push(row[modified].getTime())
      for (const column of ['apply_id', 'purchase_apply_no', 'real_num', modified]) types[column] ??= row[column]?.constructor.name
    }
  }
  const ends = times.reduce(([low, high], time) => [Math.min(low, time), Math.max(high, time)], [Infinity, -Infinity])
  said[table] = { rows, sums: { real_num: `float ${sum}` }, instants: ends.map(time => time * 1000), types }
}
console.log(JSON.stringify(said))
