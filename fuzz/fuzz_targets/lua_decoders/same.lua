-- Whether two values are the same; NaN equals itself here.
local function same(a, b)
    if type(a) ~= 'table' or type(b) ~= 'table' then
        return a == b or (a ~= a and b ~= b)
    end
    for key, value in pairs(a) do
        -- A table as a key is another table when it comes back.
        if type(key) ~= 'table' and not same(value, b[key]) then
            return false
        end
    end
    for key in pairs(b) do
        if type(key) ~= 'table' and a[key] == nil then
            return false
        end
    end
    return true
end

