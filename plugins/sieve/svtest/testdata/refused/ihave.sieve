require ["ihave"];
if ihave {}
error;
