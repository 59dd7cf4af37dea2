-- The first line is the format, the rest what is read.
local format, data = string.match(ARGV[1], '^([^\n]*)\n(.*)$')
if not format then
    return
end
pcall(struct.size, format)
local unpacked = {pcall(struct.unpack, format, data)}
if not unpacked[1] then
    return
end
-- The last one is the position behind what was read. `c0` takes its length from a number that is
-- not among the values, and integers wider than a double's 53 bits lose some.
local count = table.maxn(unpacked)
if string.find(format, 'c0') then
    return
end
for index = 2, count - 1 do
    local value = unpacked[index]
    if type(value) == 'number' and math.abs(value) > 2 ^ 53 and value % 1 == 0 then
        return
    end
end
local packed = struct.pack(format, unpack(unpacked, 2, count - 1))
local again = {true, struct.unpack(format, packed)}
if not same(unpacked, again) then
    error('a structure does not come back: ' .. format)
end
