// The order in which the items are played: as the owner put them, or by chance.

const random = (below) => Math.floor(Math.random() * below);

/** Mix a list in place (Fisher and Yates). */
function shuffle(list) {
  for (let last = list.length - 1; last > 0; last -= 1) {
    const other = random(last + 1);
    [list[last], list[other]] = [list[other], list[last]];
  }
}

export class Order {
  constructor(total, shuffled = false) {
    Object.assign(this, { total, shuffled });
    this.arrange(0);
  }

  /** Make the order anew; where it is by chance, the item at index `first` leads it. */
  arrange(first) {
    this.items = Array.from({ length: this.total }, (_, index) => index);
    if (!this.shuffled) return;
    const [leader] = this.items.splice(first, 1);
    shuffle(this.items);
    if (leader !== undefined) this.items.unshift(leader);
  }

  /** A new order by chance that does not begin with what was on last. */
  again(last) {
    this.arrange(this.total > 1 ? (last + 1 + random(this.total - 1)) % this.total : 0);
  }

  /** Follow a slideshow that its owner made longer or shorter meanwhile. */
  resize(total, first) {
    this.total = total;
    this.arrange(first);
  }

  /** The index of the item at a position of the order. */
  indexAt(position) {
    return this.items[position];
  }

  /** The position of an item; 0 if there is no such item. */
  placeOf(index) {
    return Math.max(0, this.items.indexOf(index));
  }
}
