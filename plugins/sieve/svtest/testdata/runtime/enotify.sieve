require ["enotify", "variables"];
set "x" "snail:a@example.com";
notify "${x}";
