#!/usr/bin/env python3
"""Draws docs/images/kv_layouts.svg: how requests find their KV rows, how a page's rows lie in memory, and the causal mask.

    draw_kv_layouts.py docs/images/kv_layouts.svg
"""

import sys

PAGE_SIZE = 4
KV_LENS = [7, 3]  # tokens of two requests
KV_INDICES = [5, 1, 3]  # their pages
NUM_PAGES = 6
NUM_HEADS = 2
QO_LEN = 3  # query tokens of the first request, in the mask

REQUEST_COLOURS = ["#4c78a8", "#e07b39"]
HEAD_COLOURS = ["#72a98f", "#b07aa1"]
INK, GREY, EMPTY, PAPER = "#222222", "#777777", "#eeeeee", "#ffffff"
CELL = 30
WIDTH, HEIGHT = 900, 545


class Drawing:
    def __init__(self):
        self.parts = []

    def text(self, x, y, text, size=14, colour=INK, anchor="start", weight="normal"):
        text = text.replace("&", "&amp;").replace("<", "&lt;")
        self.parts.append(f'<text x="{x}" y="{y}" font-size="{size}" fill="{colour}" text-anchor="{anchor}" '
                          f'font-weight="{weight}">{text}</text>')

    def cell(self, x, y, label="", fill=EMPTY, width=CELL):
        self.parts.append(f'<rect x="{x}" y="{y}" width="{width}" height="{CELL}" fill="{fill}" stroke="{PAPER}"/>')
        if label:
            self.text(x + width / 2, y + CELL / 2 + 5, label, 13, INK if fill == EMPTY else PAPER, "middle")

    def frame(self, x, y, width):
        self.parts.append(f'<rect x="{x}" y="{y}" width="{width}" height="{CELL}" fill="none" stroke="{INK}" '
                          'stroke-width="1.5"/>')

    def arrow(self, x1, y1, x2, y2, colour):
        self.parts.append(
            f'<path d="M{x1},{y1} C{x1},{(y1 + y2) / 2} {x2},{(y1 + y2) / 2} {x2},{y2}" fill="none" stroke="{colour}" '
            f'stroke-width="2" marker-end="url(#head)"/>')

    def svg(self):
        return "\n".join([
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">',
            '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
            f'<path d="M0,0 L8,4 L0,8 z" fill="{INK}"/></marker></defs>',
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="{PAPER}"/>', *self.parts, "</svg>", ""])


def prefix_sums(values):
    sums = [0]
    for value in values:
        sums.append(sums[-1] + value)
    return sums


def pages_of(kv_len):
    return -(-kv_len // PAGE_SIZE)


def draw_ragged(d, x, y):
    d.text(x, y, "Ragged KV: the rows of all requests, one after another", 16, weight="bold")
    starts = prefix_sums(KV_LENS)
    for request, kv_len in enumerate(KV_LENS):
        for token in range(kv_len):
            d.cell(x + (starts[request] + token) * CELL, y + 16, str(token), REQUEST_COLOURS[request])
    d.text(x + (starts[-1] + 0.5) * CELL, y + 36, f"kv_indptr = {starts}", 14)
    d.text(x, y + 66, "request 0", 13, REQUEST_COLOURS[0])
    d.text(x + starts[1] * CELL, y + 66, "request 1", 13, REQUEST_COLOURS[1])


def draw_paged(d, x, y):
    """The page table above, the pool of pages below, an arrow from each entry to its page."""
    indptr = prefix_sums([pages_of(kv_len) for kv_len in KV_LENS])
    last_page_len = [kv_len - (pages_of(kv_len) - 1) * PAGE_SIZE for kv_len in KV_LENS]
    d.text(x, y, f"Paged KV: page_size = {PAGE_SIZE}, pages anywhere in a pool", 16, weight="bold")
    d.text(x, y + 37, "kv_indices", 14)
    table_x, pool_y = x + 90, y + 104
    owner = {}
    for request in range(len(KV_LENS)):
        for entry in range(indptr[request], indptr[request + 1]):
            page, number = KV_INDICES[entry], entry - indptr[request]
            owner[page] = (request, number)
            d.cell(table_x + entry * CELL, y + 16, str(page), REQUEST_COLOURS[request])
            d.arrow(table_x + (entry + 0.5) * CELL, y + 16 + CELL, page_x(x, page) + 2 * CELL, pool_y - 3,
                    REQUEST_COLOURS[request])
    d.text(table_x + (len(KV_INDICES) + 0.8) * CELL, y + 37, f"kv_indptr = {indptr},  last_page_len = {last_page_len}", 14)
    for page in range(NUM_PAGES):
        draw_page(d, page_x(x, page), pool_y, owner.get(page))
        d.text(page_x(x, page) + 2 * CELL, pool_y + CELL + 18, f"page {page}", 13, GREY, "middle")
    d.text(x, pool_y + CELL + 42, "Numbers are positions in the request. The end of a last page is never read; "
           "free pages may hold anything.", 13, GREY)


def page_x(x, page):
    return x + page * (PAGE_SIZE * CELL + 16)


def draw_page(d, x, y, owner):
    for slot in range(PAGE_SIZE):
        position = owner[1] * PAGE_SIZE + slot if owner else None
        used = owner and position < KV_LENS[owner[0]]
        d.cell(x + slot * CELL, y, str(position) if used else "", REQUEST_COLOURS[owner[0]] if used else EMPTY)
    d.frame(x, y, PAGE_SIZE * CELL)


def draw_order(d, x, y, name, shape, cells):
    d.text(x, y + 20, name, 15, weight="bold")
    for i, (token, head) in enumerate(cells):
        d.cell(x + 50 + i * 1.6 * CELL, y, f"t{token} h{head}", HEAD_COLOURS[head], 1.6 * CELL)
    d.frame(x + 50, y, len(cells) * 1.6 * CELL)
    d.text(x + 50, y + CELL + 17, shape, 13, GREY)


def draw_orders(d, x, y):
    d.text(x, y, "A page in memory (token, head; head_dim elements each)", 16, weight="bold")
    tokens, heads = range(PAGE_SIZE), range(NUM_HEADS)
    draw_order(d, x, y + 16, "NHD", "[num_pages, page_size, num_kv_heads, head_dim]",
               [(token, head) for token in tokens for head in heads])
    draw_order(d, x, y + 80, "HND", "[num_pages, num_kv_heads, page_size, head_dim]",
               [(token, head) for head in heads for token in tokens])


def draw_mask(d, x, y):
    kv_len = KV_LENS[0]
    d.text(x, y, "Causal, right-aligned", 16, weight="bold")
    d.text(x, y + 20, f"qo_len = {QO_LEN}, kv_len = {kv_len}", 13, GREY)
    for row in range(QO_LEN):
        position = kv_len - QO_LEN + row
        d.text(x, y + 52 + row * CELL, f"p = {position}", 13)
        for token in range(kv_len):
            attends = token <= position
            d.cell(x + 46 + token * CELL, y + 32 + row * CELL, str(token) if attends else "",
                   REQUEST_COLOURS[0] if attends else EMPTY)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    drawing = Drawing()
    draw_ragged(drawing, 20, 34)
    draw_paged(drawing, 20, 150)
    draw_orders(drawing, 20, 400)
    draw_mask(drawing, 610, 400)
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        file.write(drawing.svg())


if __name__ == "__main__":
    main()
