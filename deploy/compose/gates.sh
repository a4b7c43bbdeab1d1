# Readings of three sluice gates, one each a second, as KEY=VALUE lines.
gates=(north middle southern)
for ((reading = 0; ; reading++)); do
  for key in "${!gates[@]}"; do
    level=$((160 + (reading * 7 + key * 33) % 100)) open=$(((reading * 3 + key * 20) % 101))
    echo "$key={\"gate\":\"${gates[key]}\",\"reading\":$reading,\"level_cm\":$level,\"open_percent\":$open}"
  done
  sleep 1
done
