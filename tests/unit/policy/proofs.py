"""Proofs of places in block bodies, computed apart from the program: recursive hash_tree_root by SSZ's rules, and
the path of a generalized index by halving it. Output: a C table."""

import hashlib


def digest(left, right):
    return hashlib.sha256(left + right).digest()


def root_of(leaves, depth):
    if depth == 0:
        return leaves[0] if leaves else bytes(32)
    half = 1 << (depth - 1)
    return digest(root_of(leaves[:half], depth - 1), root_of(leaves[half:], depth - 1))


class Container:
    def __init__(self, members, depth):
        self.members, self.depth = members, depth

    def root(self):
        return root_of([m.root() if isinstance(m, Container) else m for m in self.members], self.depth)

    def node(self, index):
        """The node at a generalized index, found from the top."""
        path = bin(index)[3:]
        leaves = [m.root() if isinstance(m, Container) else m for m in self.members]
        leaves += [bytes(32)] * (2**self.depth - len(leaves))
        if len(path) > self.depth:
            at = int(path[:self.depth], 2)
            return self.members[at].node(int("1" + path[self.depth:], 2))
        low, high = 0, 2**self.depth
        for bit in path:
            middle = (low + high) // 2
            low, high = (middle, high) if bit == "1" else (low, middle)
        span = high - low
        return root_of(leaves[low:high], span.bit_length() - 1)


def chunk(*parts):
    return hashlib.sha256(repr(parts).encode()).digest()


def body(fork, members_of_payload, depth_of_payload, members_of_body):
    payload = [chunk(fork, "payload", i) for i in range(members_of_payload)]
    payload[1] = bytes(range(1, 21)) + bytes(12)
    payload[7] = (36_000_000).to_bytes(8, "little") + bytes(24)
    fields = [chunk(fork, "body", i) for i in range(members_of_body)]
    fields[9] = Container(payload, depth_of_payload)
    return Container(fields, 4)


def main():
    print("static const proof_case proof_cases[] = {")
    for fork, in_payload, depth, in_body in (("bellatrix", 14, 4, 10), ("capella", 15, 4, 11), ("deneb", 17, 5, 12),
                                             ("electra", 17, 5, 13)):
        made = body(fork, in_payload, depth, in_body)
        for member in (1, 7):
            index = (16 + 9) * 2**depth + member
            branch, at = [], index
            while at > 1:
                branch.append(made.node(at ^ 1))
                at //= 2
            rows = [made.node(index), made.root()]
            as_c = lambda node: "{" + ",".join(f"0x{byte:02x}" for byte in node) + "}"
            print(f"    {{{index}, {len(branch)}, {as_c(rows[0])}, {as_c(rows[1])}, {{{', '.join(map(as_c, branch))}}}}},")
    print("};")


main()
