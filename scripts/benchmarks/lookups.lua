-- Sends the requests of a file (see http_turns.py) repeatedly; run by wrk.
-- Arguments: the file, the index to begin at, the maximum rate a second (0: unlimited).
-- Prints one JSON line.

local ffi = require("ffi")
ffi.cdef [[
    typedef struct { long seconds, nanoseconds; } moment;
    int clock_gettime(int clock, moment *now);
]]
local MONOTONIC = 1

local requests, refused = {}, {}
local at, slot, began, rate
local moment = ffi.new("moment")

-- Read by `done`, which runs in a separate Lua state: how many sent requests should be refused.
refusals = 0

local function now()
    ffi.C.clock_gettime(MONOTONIC, moment)
    return tonumber(moment.seconds) + tonumber(moment.nanoseconds) / 1e9
end

function init(arguments)
    local file = assert(io.open(arguments[1], "rb"))
    for line in function() return file:read("*l") end do
        local length, status = line:match("(%d+) (%d+)")
        requests[#requests + 1] = file:read(tonumber(length))
        refused[#refused + 1] = tonumber(status) >= 400 and 1 or 0
    end
    file:close()
    at, rate, slot = tonumber(arguments[2]), tonumber(arguments[3]), 0
    if rate > 0 then
        -- Milliseconds until the next request is due, whichever connection sends it.
        function delay()
            began = began or now()
            slot = slot + 1
            return math.max(0, (began + slot / rate - now()) * 1000)
        end
    end
end

function request()
    at = at % #requests + 1
    refusals = refusals + refused[at]
    return requests[at]
end

local threads = {}

function setup(thread)
    threads[#threads + 1] = thread
end

function done(summary, latency)
    local errors = summary.errors
    print(string.format(
        '{"rate": %.3f, "p50_ms": %.4f, "p99_ms": %.4f, "requests": %d, "refused": %d, '
            .. '"refusals_due": %d, "failed": %d}',
        summary.requests * 1e6 / summary.duration,
        latency:percentile(50) / 1000,
        latency:percentile(99) / 1000,
        summary.requests,
        errors.status,
        threads[1]:get("refusals"),
        errors.connect + errors.read + errors.write + errors.timeout))
end
