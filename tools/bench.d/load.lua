-- What wrk does beside its options: `-- post N` sends N bytes with every request, `-- routes N` spreads the load over N routes
-- (see routes.rs). In the end one line with every figure, for a program to read.
function init(args)
    if args[1] == "post" then
        wrk.method = "POST"
        wrk.body = string.rep("b", tonumber(args[2]))
        wrk.headers["Content-Type"] = "text/plain"
    elseif args[1] == "routes" then
        local count = tonumber(args[2])
        local all = {}
        math.randomseed(1)
        for i = 1, math.min(count, 20000) do
            local n = math.random(0, count - 1)
            wrk.headers["Host"] = "h" .. (n % 100) .. ".test"
            all[i] = wrk.format("GET", "/r" .. n .. "/x")
        end
        local at = 0
        request = function()
            at = at % #all + 1
            return all[at]
        end
    end
end

function done(summary, latency, requests)
    local e = summary.errors
    io.write(string.format(
        "\nFIGURES requests=%d us=%d bytes=%d p50=%d p90=%d p99=%d p999=%d max=%d errors=%d\n",
        summary.requests, summary.duration, summary.bytes, latency:percentile(50), latency:percentile(90), latency:percentile(99), latency:percentile(99.9),
        latency.max, e.connect + e.read + e.write + e.status + e.timeout))
end
