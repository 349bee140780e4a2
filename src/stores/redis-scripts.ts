import type { Cluster, Redis } from 'ioredis'

/*
 * What Redis holds. A token is an id, a user or a node as JSON text, and so is every value of a record: JSON has one
 * text for each string, shows where it ends, and writes half surrogate pairs, which UTF-8 cannot, as escapes.
 *
 *   {prefix}connection:{token of the id}   hash     the fields of the record
 *   {prefix}user:{token}                   sorted   tokens of the ids, by when their time comes
 *   {prefix}node:{token}                   sorted   the same
 *
 * KEYS[1] is the prefix and every other key is made from it: which keys a record touches is known only when its old
 * version has been read.
 * ARGV[1] is the caller's time in ms.
 */
const PRELUDE = `
local prefix, now = KEYS[1], tonumber(ARGV[1])

local function recordKey(token) return prefix .. 'connection:' .. token end

local function indexKey(kind, owner) return prefix .. kind .. ':' .. owner end

-- Whatever else is under the key is no record.
local function isRecord(key) return redis.call('TYPE', key).ok == 'hash' end

local function alive(key)
  if not isRecord(key) then return false end
  local expires = tonumber(redis.call('HGET', key, 'expiresAt'))
  return expires == nil or expires > now
end

local function fieldsOf(key) return alive(key) and redis.call('HGETALL', key) end

-- PEXPIREAT takes whole numbers without an exponent, up to 2^53 for sure.
local function expireAt(key, ms)
  redis.call('PEXPIREAT', key, string.format('%.0f', math.min(math.ceil(ms), 9007199254740991)))
end

-- An index drops those whose time has come, and goes with the last of them: nobody has to list it for that.
local function settle(index)
  redis.call('ZREMRANGEBYSCORE', index, '-inf', ARGV[1])
  local last = redis.call('ZREVRANGE', index, 0, 0, 'WITHSCORES')[2]
  if not last then return end
  if last == 'inf' then redis.call('PERSIST', index) else expireAt(index, tonumber(last)) end
end

local function eachIndex(key, visit)
  for _, kind in ipairs({ 'node', 'user' }) do
    local owner = redis.call('HGET', key, kind)
    if owner then
      local index = indexKey(kind, owner)
      visit(index)
      settle(index)
    end
  end
end

-- Brings the indexes and the expiry in line with the fields. The expiry last: when it is past, the key is gone.
local function place(key, token)
  local expires = redis.call('HGET', key, 'expiresAt')
  eachIndex(key, function(index) redis.call('ZADD', index, expires or 'inf', token) end)
  if expires then expireAt(key, tonumber(expires)) end
end

local function forget(key, token)
  if isRecord(key) then
    eachIndex(key, function(index) redis.call('ZREM', index, token) end)
  end
  redis.call('DEL', key)
end
`

const SCRIPTS = {
  // ARGV: now, token, then names and values.
  put: `
local token = ARGV[2]
local key = recordKey(token)
forget(key, token)
redis.call('HSET', key, unpack(ARGV, 3))
place(key, token)
`,
  // ARGV: now, token.
  get: `
return fieldsOf(recordKey(ARGV[2]))
`,
  // ARGV: now, then for each: token, lastSendAt, expiresAt; empty: as it was.
  touch: `
for i = 2, #ARGV, 3 do
  local token, lastSendAt, expiresAt = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local key = recordKey(token)
  if alive(key) then
    if lastSendAt ~= '' then redis.call('HSET', key, 'lastSendAt', lastSendAt) end
    if expiresAt ~= '' then
      redis.call('HSET', key, 'expiresAt', expiresAt)
      place(key, token)
    end
  end
end
`,
  // ARGV: now, token. What was deleted.
  delete: `
local key = recordKey(ARGV[2])
local fields = fieldsOf(key)
forget(key, ARGV[2])
return fields
`,
  // ARGV: now, user or node, token of it. An entry without its record is left of one that somebody else deleted or that
  // Redis evicted.
  list: `
local kind, owner = ARGV[2], ARGV[3]
local index = indexKey(kind, owner)
local found = {}
for _, token in ipairs(redis.call('ZRANGE', index, 0, -1)) do
  local key = recordKey(token)
  local fields = fieldsOf(key)
  if fields and redis.call('HGET', key, kind) == owner then
    found[#found + 1] = { token, fields }
  else
    redis.call('ZREM', index, token)
  end
end
settle(index)
return found
`,
} as const

type ScriptName = keyof typeof SCRIPTS
export type RunScript = (name: ScriptName, args: readonly string[]) => Promise<unknown>

/**
 * Each script runs as one: nobody sees a record without its indexes. The driver sends its text once per connection and
 * its hash from then on, in the order of the calls.
 */
export function scriptsOn(client: Redis | Cluster, prefix: string): RunScript {
  for (const [name, body] of Object.entries(SCRIPTS))
    client.defineCommand(commandOf(name), { lua: PRELUDE + body, numberOfKeys: 1 })
  // The driver has no types for commands that are defined at run time. It takes lists as they are: spreading one has a
  // limit.
  const commands = client as unknown as Record<string, (prefix: string, args: readonly string[]) => Promise<unknown>>
  return (name, args) => commands[commandOf(name)]!(prefix, args)
}

/** They become methods of a client that may not be ours. */
function commandOf(name: string): string {
  return `hublineStore_${name}`
}
