local session, media, shares, codes, links, stats, daily, referrers, players, visitors,
  viewers = unpack(KEYS)
