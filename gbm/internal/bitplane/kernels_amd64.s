#include "go_asm.h"
#include "textflag.h"

// A plane is one 512-bit register. Each function ends in VZEROUPPER: scalar code is slow while the upper parts of
// registers hold something.
//
// The planes of the leaves' numbers are at the start of a Scratch.

// func unions(dst *Plane, n int, tables *Plane, picks *uint16, each int)
TEXT ·unions(SB), NOSPLIT, $0-40
	MOVQ dst+0(FP), DI
	MOVQ n+8(FP), CX
	MOVQ tables+16(FP), SI
	MOVQ picks+24(FP), R8
	MOVQ each+32(FP), R9

plane:
	VPXORQ Z0, Z0, Z0
	VPXORQ Z1, Z1, Z1
	MOVQ   R9, DX

two:
	MOVWLZX 0(R8), AX
	MOVWLZX 2(R8), BX
	SHLQ    $6, AX
	SHLQ    $6, BX
	VPORQ   (SI)(AX*1), Z0, Z0
	VPORQ   (SI)(BX*1), Z1, Z1
	ADDQ    $4, R8
	SUBQ    $2, DX
	JNZ     two

	VPORQ     Z1, Z0, Z0
	VMOVDQU64 Z0, (DI)
	ADDQ      $64, DI
	DECQ      CX
	JNZ       plane
	VZEROUPPER
	RET

// func follow(t *Tree, cuts *Plane, s *Scratch)
TEXT ·follow(SB), NOSPLIT, $0-24
	MOVQ t+0(FP), DI
	MOVQ cuts+8(FP), SI
	MOVQ s+16(FP), R8
	LEAQ Scratch_reach(R8), R9

	VPXORQ    Z0, Z0, Z0
	VMOVDQU64 Z0, 0(R8)
	VMOVDQU64 Z0, 64(R8)
	VMOVDQU64 Z0, 128(R8)
	VMOVDQU64 Z0, 192(R8)
	VMOVDQU64 Z0, 256(R8)
	VMOVDQU64 Z0, 320(R8)
	VMOVDQU64 Z0, 384(R8)
	VMOVDQU64 Z0, 448(R8)

	VPTERNLOGQ $0xFF, Z0, Z0, Z0 // all ones
	VMOVDQU64  Z0, (R9)
	LEAQ       64(R9), R10       // the next set

	MOVQ  Tree_inner(DI), R11
	MOVQ  Tree_inner+8(DI), CX
	TESTQ CX, CX
	JZ    bottoms

inner:
	MOVWLZX   innerStep_cut(R11), AX
	MOVWLZX   innerStep_from(R11), BX
	MOVWLZX   innerStep_plane(R11), DX
	SHLQ      $6, AX
	SHLQ      $6, BX
	SHLQ      $6, DX
	VMOVDQU64 (R9)(BX*1), Z0
	VPANDQ    (SI)(AX*1), Z0, Z1
	VPXORQ    Z1, Z0, Z0
	VMOVDQU64 Z0, 0(R10)
	VMOVDQU64 Z1, 64(R10)
	VPORQ     (R8)(DX*1), Z1, Z1
	VMOVDQU64 Z1, (R8)(DX*1)
	ADDQ      $128, R10
	ADDQ      $innerStep__size, R11
	DECQ      CX
	JNZ       inner

bottoms:
	MOVQ      Tree_bottom(DI), R11
	MOVQ      Tree_bottom+8(DI), CX
	TESTQ     CX, CX
	JZ        extras
	VMOVDQU64 (R8), Z0

bottom:
	MOVWLZX   bottomStep_cut(R11), AX
	MOVWLZX   bottomStep_from(R11), BX
	SHLQ      $6, AX
	SHLQ      $6, BX
	VMOVDQU64 (R9)(BX*1), Z1
	VPANDQ    (SI)(AX*1), Z1, Z1
	VPORQ     Z1, Z0, Z0
	ADDQ      $bottomStep__size, R11
	DECQ      CX
	JNZ       bottom
	VMOVDQU64 Z0, (R8)

extras:
	MOVQ  Tree_extra(DI), R11
	MOVQ  Tree_extra+8(DI), CX
	TESTQ CX, CX
	JZ    done

extra:
	MOVWLZX   extraStep_from(R11), BX
	MOVWLZX   extraStep_plane(R11), DX
	SHLQ      $6, BX
	SHLQ      $6, DX
	VMOVDQU64 (R9)(BX*1), Z1
	VPORQ     (R8)(DX*1), Z1, Z1
	VMOVDQU64 Z1, (R8)(DX*1)
	ADDQ      $extraStep__size, R11
	DECQ      CX
	JNZ       extra

done:
	VZEROUPPER
	RET

// The bits of the lowest four planes become the numbers of a table's 16 values, one byte a row; the fifth plane says
// which of two tables it is.

// func lookUp(values *[32]float64, s *Scratch, sums *[Rows]float64, words int)
TEXT ·lookUp(SB), NOSPLIT, $0-32
	MOVQ values+0(FP), DI
	MOVQ s+8(FP), SI
	MOVQ sums+16(FP), R8
	MOVQ words+24(FP), CX
	LEAQ 960(SI), R9 // a plane that nothing else uses

	VMOVUPD 0(DI), Z10
	VMOVUPD 64(DI), Z11
	VMOVUPD 128(DI), Z12
	VMOVUPD 192(DI), Z13

	MOVL         $1, AX
	VPBROADCASTB AX, Z20
	VPADDB       Z20, Z20, Z21
	VPADDB       Z21, Z21, Z22
	VPADDB       Z22, Z22, Z23

word:
	KMOVQ      0(SI), K1
	KMOVQ      64(SI), K2
	KMOVQ      128(SI), K3
	KMOVQ      192(SI), K4
	VMOVDQU8.Z Z20, K1, Z0
	VPADDB     Z21, Z0, K2, Z0
	VPADDB     Z22, Z0, K3, Z0
	VPADDB     Z23, Z0, K4, Z0
	VMOVDQU64  Z0, (R9)

#define EIGHT(i) \
	KMOVB     256+i(SI), K5;      \
	VPMOVZXBQ 8*i(R9), Z1;        \
	VMOVDQA64 Z1, Z2;             \
	VPERMI2PD Z11, Z10, Z1;       \
	VPERMI2PD Z13, Z12, Z2;       \
	VMOVAPD   Z2, K5, Z1;         \
	VADDPD    64*i(R8), Z1, Z1;   \
	VMOVUPD   Z1, 64*i(R8)

	EIGHT(0)
	EIGHT(1)
	EIGHT(2)
	EIGHT(3)
	EIGHT(4)
	EIGHT(5)
	EIGHT(6)
	EIGHT(7)

	ADDQ $8, SI
	ADDQ $512, R8
	DECQ CX
	JNZ  word
	VZEROUPPER
	RET
