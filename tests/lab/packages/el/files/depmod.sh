depmod @KVER@ || :
