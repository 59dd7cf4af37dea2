//! What SCAN and its like promise: what is there from the first step to the last is found, whatever
//! comes and goes meanwhile; and whoever goes on until the cursor is 0 comes to an end.

mod common;

use common::program::{Running, ask};

/// Walks through what stays, while crowds come during the first half of the walk and go during the
/// second, from few that are packed to many and back. Answers how many were missed.
const WALK: &str = "
local command, add, remove = ARGV[1], ARGV[2], ARGV[3]
math.randomseed(tonumber(ARGV[4]))
local function put(name)
    if add == 'SET' then redis.call('SET', name, 'v')
    elseif add == 'SADD' then redis.call('SADD', 'k', name)
    elseif add == 'HSET' then redis.call('HSET', 'k', name, 'v')
    else redis.call('ZADD', 'k', math.random(100), name) end
end
local function drop(name)
    if remove == 'DEL' then redis.call('DEL', name) else redis.call(remove, 'k', name) end
end
redis.call('FLUSHALL')
local stay, count = math.random(1500), math.random(60)
for i = 1, stay do put('stay:' .. i) end
local seen, found, crowd, steps, cursor = {}, 0, 0, 0, '0'
local width = command == 'HSCAN' and 2 or command == 'ZSCAN' and 2 or 1
repeat
    local page
    if command == 'SCAN' then page = redis.call('SCAN', cursor, 'COUNT', count)
    else page = redis.call(command, 'k', cursor, 'COUNT', count) end
    cursor = page[1]
    for i = 1, #page[2], width do
        local name = page[2][i]
        if name:sub(1, 5) == 'stay:' and not seen[name] then
            seen[name] = true
            found = found + 1
        end
    end
    if found < stay / 2 and crowd < 20000 then
        for i = 1, 5 * count do crowd = crowd + 1; put('crowd:' .. crowd) end
    else
        for i = 1, 7 * count do
            if crowd > 0 then drop('crowd:' .. crowd); crowd = crowd - 1 end
        end
    end
    steps = steps + 1
until cursor == '0' or steps > 100000
return cursor == '0' and stay - found or -1
";

fn check(command: &str, add: &str, remove: &str) {
    let server = Running::start(&[]);
    for seed in 1..=12 {
        let script = WALK.replace('\n', " ");
        let request = format!("EVAL \"{script}\" 0 {command} {add} {remove} {seed}");
        assert_eq!(ask(server.port, &request), ":0", "{command} with seed {seed}");
    }
    server.stop();
}

#[test]
fn keys_that_stay_are_found() {
    check("SCAN", "SET", "DEL");
}

#[test]
fn members_that_stay_are_found() {
    check("SSCAN", "SADD", "SREM");
}

#[test]
fn fields_that_stay_are_found() {
    check("HSCAN", "HSET", "HDEL");
}

#[test]
fn scored_members_that_stay_are_found() {
    check("ZSCAN", "ZADD", "ZREM");
}
