"""A fleet's limits in Redis: one hash, one script, the server's clock.

``redis://[user:password@]host[:6379]/[database]?key=…`` (``rediss://`` with TLS)

A field of the hash is a worker: until when its lease runs, the slots it holds, those it wants, the leaves it asked for
and when. Slots are divided so that nobody has more than he wants and nobody less than another who has more (max-min
fair); what one is to give up goes to another once it is given up. Leaves come from one token bucket; of those that come
in a while each worker that asks gets its part.

A worker not heard of for a lease counts as dead, unless none was heard of: then it was the server that was away. So a
hash that is new, lost, or was not asked for half a lease gives none more than it says it has, for the length of one.
"""

from redis.exceptions import AuthenticationError, NoPermissionError, RedisError, ResponseError

from worker.brokers.redis import client_of, database_of
from worker.errors import FleetUnavailable, SettingsError
from worker.flow.quota import SharedLimits
from worker.ports.fleet import Ask, Grant

KEY = "precheck:fleet"
CONNECT_TIMEOUT_S = 1.0
FORGOTTEN_AFTER_S = 3600

_RENEW = """
local key, me = KEYS[1], ARGV[1]
local lease, total, wants, kept = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local rate, asked = tonumber(ARGV[6]), tonumber(ARGV[7])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local born, tokens, filled = now, 0, now
local others, hungry, since = 0, asked > 0 and 1 or 0, now
local wanting = {{name = me, wants = wants}}
local all = redis.call('HGETALL', key)
for i = 1, #all, 2 do
    local name, value = all[i], all[i + 1]
    if name == '@bucket' then
        local t, at, first = string.match(value, '^([%d.]+):(%d+):(%d+)$')
        tokens, filled, born = tonumber(t), tonumber(at), tonumber(first)
        if now - filled > lease / 2 then born = now end
    else
        local till, held, w, a, at = string.match(value, '^(%d+):(%d+):(%d+):(%d+):(%d+)$')
        if name == me then
            since = tonumber(at)
        elseif tonumber(till) <= now then
            redis.call('HDEL', key, name)
        else
            others = others + tonumber(held)
            wanting[#wanting + 1] = {name = name, wants = tonumber(w)}
            if tonumber(a) > 0 then hungry = hungry + 1 end
        end
    end
end

local slots = 0
if total > 0 then
    table.sort(wanting, function(a, b) return a.wants < b.wants or (a.wants == b.wants and a.name < b.name) end)
    local rest = total
    for i, one in ipairs(wanting) do
        local part = math.min(one.wants, math.floor(rest / (#wanting - i + 1)))
        rest = rest - part
        if one.name == me then slots = part end
    end
    if now - born < lease then slots = math.min(slots, math.max(kept, 1)) end
    slots = math.max(0, math.min(slots, total - others))
end

local leaves = 0
if rate > 0 then
    tokens = math.min(math.max(1, rate / 2), tokens + math.max(0, now - filled) * rate / 1000)
    if asked > 0 then
        local part = math.ceil(math.min(now - since, 1000) * rate / 1000 / hungry)
        leaves = math.min(asked, math.max(part, 1), math.floor(tokens))
        tokens = tokens - leaves
    end
end

local held = math.max(kept, slots)
redis.call('HSET', key, me, string.format('%.0f:%d:%d:%d:%.0f', now + lease, held, wants, asked, now),
    '@bucket', string.format('%.6f:%.0f:%.0f', tokens, now, born))
redis.call('PEXPIRE', key, ARGV[8])
return {slots, leaves}
"""


class RedisFleet:
    """`worker.ports.fleet.FleetLimits` in one hash; `worker_id` is this life of this worker and no other's."""

    def __init__(self, url: str, limits: SharedLimits, *, lease_s: float, worker_id: str) -> None:
        self._address = database_of(url, setting="flow.shared_url", parameters={"key": KEY})
        self._limits = limits
        self._lease_ms = round(lease_s * 1000)
        self._worker = worker_id
        answer_s = lease_s / 3  # what comes later is of no use: the lease would have to be asked for again
        self._client = client_of(
            self._address, answer_timeout_s=answer_s, connect_timeout_s=min(CONNECT_TIMEOUT_S, answer_s)
        )
        self._key = self._address["key"]
        self._renew = self._client.register_script(_RENEW)

    async def open(self) -> None:
        """See that the server takes us; see `FleetLimits.open`."""
        try:
            kind = await self._client.type(self._key)
        except (AuthenticationError, NoPermissionError):
            raise SettingsError([f"flow.shared_url: {self._address.shown} refuses this user or its password"]) from None
        except (RedisError, OSError) as error:
            raise self._unavailable(error) from None
        if kind not in (b"hash", b"none"):
            raise SettingsError([f"flow.shared_url: {self._key!r} at {self._address.shown} is something else: ?key=…"])

    async def renew(self, ask: Ask) -> Grant:
        """Run the script; see `FleetLimits.renew`."""
        limits = self._limits
        try:
            slots, leaves = await self._renew(
                keys=[self._key],
                args=[
                    self._worker, self._lease_ms, limits.max_in_flight, ask.slots, ask.kept, limits.rate_per_s,
                    ask.leaves, max(FORGOTTEN_AFTER_S * 1000, 10 * self._lease_ms),
                ],
            )  # fmt: skip
        except (RedisError, OSError) as error:
            raise self._unavailable(error) from None
        return Grant(int(slots), int(leaves))

    async def leave(self) -> None:
        """Take our field out; see `FleetLimits.leave`."""
        try:
            await self._client.hdel(self._key, self._worker)
        except (RedisError, OSError):
            return

    async def close(self) -> None:
        """Disconnect."""
        await self._client.aclose()

    def _unavailable(self, error: Exception) -> FleetUnavailable:
        what = str(error).partition(" ")[0][:40] if isinstance(error, ResponseError) else type(error).__name__
        return FleetUnavailable(f"redis: {self._address.shown} cannot be asked for the fleet's limits ({what})")
