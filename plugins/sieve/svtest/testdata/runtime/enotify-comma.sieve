require ["enotify", "variables"];
set "x" "mailto:a@example.com?x:y=z";
notify "${x}";
