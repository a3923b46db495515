// Runs beside tardis-dev's own installation: JSON.parse and its mappers over recorded frames, results dropped.
const fs = require("fs")
const path = require("path")

const [home, file, seconds] = process.argv.slice(2)
const lines = fs.readFileSync(file, "utf8").split("\n")
const facts = JSON.parse(lines[0])

const messages = []
for (const line of lines.slice(1)) {
  if (!line) continue
  const first = line.indexOf(" ")
  const second = line.indexOf(" ", first + 1)
  const kind = line.slice(first + 1, second)
  let text = line.slice(second + 1)
  if (kind === "R") {
    // Its own recordings wrap a fetched book like this.
    const symbol = (messages[0] || ["", '{"stream":"' + facts.symbol + '@"}'])[1].match(/"stream":\s*"([^@]+)@/)
    text = `{"stream":"${symbol ? symbol[1] : "btcusdt"}@depthSnapshot","data":${text}}`
  }
  messages.push([Number(BigInt(line.slice(0, first)) / 1000000n), text])
}

function makeMappers() {
  return facts.tardis.map(([name, member, args]) => {
    const made = require(path.join(home, "node_modules/tardis-dev/dist/mappers", name + ".js"))[member]
    return typeof made === "function" ? new made(...args) : made
  })
}

function runOnce() {
  const mappers = makeMappers()
  let events = 0
  let levels = 0
  const cpu = process.cpuUsage()
  const wall = process.hrtime.bigint()
  for (const [received, text] of messages) {
    const message = JSON.parse(text)
    const local = new Date(received)
    for (const mapper of mappers) {
      if (!mapper.canHandle(message)) continue
      for (const event of mapper.map(message, local)) {
        events += 1
        if (event.bids) levels += event.bids.length + event.asks.length
      }
    }
  }
  const spentWall = Number(process.hrtime.bigint() - wall)
  const spent = process.cpuUsage(cpu)
  return [(spent.user + spent.system) * 1000, spentWall, { events, levels }]
}

const output = runOnce()[2]
const costs = []
const begin = Date.now()
while (Date.now() - begin < Number(seconds) * 1000 || costs.length < 3) costs.push(runOnce().slice(0, 2))
console.log(JSON.stringify({ frames: messages.length, costs, output }))
