-- The first two bytes are limit and offset of the parts that are taken one by one.
local limit, offset = string.byte(ARGV[1], 1, 2)
if not offset then
    return
end
local packed = string.sub(ARGV[1], 3)
pcall(cmsgpack.unpack_limit, packed, limit, offset)
pcall(cmsgpack.unpack_one, packed, offset)

local unpacked = {pcall(cmsgpack.unpack, packed)}
if not unpacked[1] then
    return
end
-- Tables nested deeper than 16 are packed as nil, which cannot be read where it is a key.
local function is_deep(value, levels)
    if type(value) ~= 'table' then
        return false
    end
    if levels == 0 then
        return true
    end
    for key, element in pairs(value) do
        if is_deep(key, levels - 1) or is_deep(element, levels - 1) then
            return true
        end
    end
    return false
end

for index = 2, table.maxn(unpacked) do
    local value = unpacked[index]
    if not is_deep(value, 16) then
        local again = cmsgpack.unpack(cmsgpack.pack(value))
        if not same(value, again) then
            error('MessagePack does not come back')
        end
    end
end
