local is_json, value = pcall(cjson.decode, ARGV[1])
if not is_json then
    return
end
-- Decoding takes numbers that encoding refuses, such as `nan`.
local is_encoded, text = pcall(cjson.encode, value)
if not is_encoded then
    return
end
-- Encoding keeps 14 digits of a number: compared is what has been through it.
local once = cjson.decode(text)
local twice = cjson.decode(cjson.encode(once))
if not same(once, twice) then
    error('JSON does not come back: ' .. text)
end
