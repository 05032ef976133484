require ["variables"];
set "1" "x";
set "a.b" "x";
set :lower :upper "a" "b";
redirect "${100}@example.com";
