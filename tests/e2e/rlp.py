"""RLP, read independently of the signer: for tests that look into transactions."""


def _item(data, at):
    first = data[at]
    if first < 0x80:
        return data[at:at + 1], at + 1
    base = 0xC0 if first >= 0xC0 else 0x80
    head = 1
    size = first - base
    if size > 55:
        width = size - 55
        size = int.from_bytes(data[at + 1:at + 1 + width], "big")
        head += width
    start, end = at + head, at + head + size
    assert end <= len(data), "an item beyond the end"
    if base == 0x80:
        return data[start:end], end
    items = []
    while start < end:
        one, start = _item(data, start)
        items.append(one)
    assert start == end
    return items, end


def decode(data):
    item, end = _item(data, 0)
    assert end == len(data), "bytes behind the item"
    return item


def encode(item):
    if isinstance(item, list):
        payload = b"".join(encode(one) for one in item)
        return _head(0xC0, len(payload)) + payload
    if len(item) == 1 and item[0] < 0x80:
        return item
    return _head(0x80, len(item)) + item


def _head(base, size):
    if size <= 55:
        return bytes([base + size])
    width = (size.bit_length() + 7) // 8
    return bytes([base + 55 + width]) + size.to_bytes(width, "big")
